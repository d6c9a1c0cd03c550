"""A run of language models, read from its files alone: every method's numbers, round by round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from experiments.common.figure import make_figure
from experiments.common.files import read_json
from experiments.common.style import BLACK, series
from experiments.common.table import Table, number
from experiments.reporting.kinds.kind import Kind, Picture, Source, Told
from experiments.reporting.kinds.paired import Pairs, told_apart
from spac_theory.checks import InputError

START = "sft"  # what every method starts from
# What is judged, by preference, and whether less is better.
JUDGED = {"suboptimality": True, "reward": False, "accuracy": False, "margin": False}
NUMBERS = {
    "suboptimality": "suboptimality", "mixture_suboptimality": "suboptimality of the mixture",
    "value": "value", "reward": "value on held-out prompts", "gain": "gain over the start",
    "win_rate": "wins against the start", "accuracy": "held-out accuracy",
    "margin": "held-out margin, nats", "kl": "KL to the start, nats", "steps": "gradient steps",
    "samples": "samples drawn", "labels": "labels asked for",
}  # fmt: skip
DRAWN = ("suboptimality", "reward", "accuracy", "margin", "kl")


def read(folder: Path) -> Source | None:
    """The folder of `llm.run`. Raises InputError for a run that has not come to its results."""
    path = folder / "results.json"
    if not path.is_file():
        if (folder / "manifest.json").is_file():
            raise InputError(f"{folder} is a run that is not finished; start it again, it goes on.")
        return None
    found = read_json(path)
    rounds = found.get("rounds", found)
    if not isinstance(rounds, dict) or not all(isinstance(v, list) for v in rounds.values()):
        return None
    rows = [_row(m, t, r) for m, every in rounds.items() for t, r in enumerate(every, start=1)]
    made = {str(k): str(v) for k, v in found.get("made", {}).items()}
    frame = pl.DataFrame(
        sorted(rows, key=lambda row: row["method"] != START), infer_schema_length=None
    )
    if "kl" in frame.columns:  # the start is no distance from itself
        frame = frame.with_columns(kl=pl.when(pl.col("round") == 0).then(0.0).otherwise("kl"))
    return Source(folder, KIND.name, frame, made.pop("command", ""), made)


def _row(method: str, t: int, told: dict[str, Any]) -> dict[str, Any]:
    """One round's numbers, flat; the start is round 0."""
    numbers = {k: float(v) for k, v in told.items() if isinstance(v, int | float)}
    return {"method": method, "round": 0 if method == START else t, **numbers}


def last(rows: pl.DataFrame) -> pl.DataFrame:
    """The last round of every method."""
    return rows.group_by("method", maintain_order=True).last()


def last_round(rows: pl.DataFrame) -> int:
    """How many rounds there were."""
    return max(map(int, rows["round"]), default=0)


def judged(rows: pl.DataFrame) -> str | None:
    """The number by which methods are compared; None where none is known."""
    return next((n for n in JUDGED if n in rows.columns and rows[n].count()), None)


def tell(source: Source) -> Told:
    """Who is best and by how much over the start; numbers by round; value against distance; training."""
    rows, by = source.rows, judged(source.rows)
    pictures = [_rounds(rows)] if any(n in rows.columns for n in DRAWN) else []
    if by in ("suboptimality", "reward") and "kl" in rows.columns:
        pictures.append(_frontier(rows, str(by)))
    log = training(source)
    if log.height:
        pictures.append(_training(log))
    data = {f"{source.name}_rounds": rows, **({"training": log} if log.height else {})}
    reports = sorted(source.folder.glob("report.md"))
    return Told(_answers(rows, by), pictures, [_table(rows)], reports, data=data)


def _answers(rows: pl.DataFrame, by: str | None) -> list[str]:
    if by is None:
        return ["No number of this run tells its methods apart: it has no held-out rows."]
    ends, less = last(rows), JUDGED[by]
    methods = ends.filter(pl.col("method") != START).drop_nulls(by)
    said = []
    if methods.height:
        best = methods.sort(by, descending=not less).row(0, named=True)
        word = "smallest" if less else "largest"
        said.append(
            f"The {word} {NUMBERS[by]} after the last round is {_pm(best, by)}, of {best['method']}."
        )
    start = ends.filter(pl.col("method") == START).drop_nulls(by)
    for row in methods.iter_rows(named=True) if start.height else ():
        before = start.row(0, named=True)
        kl = f", at a KL of {row['kl']:.3g} nats" if row.get("kl") is not None else ""
        said.append(f"{row['method']}: {NUMBERS[by]} {_pm(before, by)} → {_pm(row, by)}{kl}.")
    return [*said, f"{methods.height} methods, {last_round(rows)} rounds, one seed."]


def _pm(row: dict[str, Any], name: str) -> str:
    """A number with its standard error or interval, as far as the run tells them."""
    value = f"{row[name]:.3f}"
    if row.get(f"{name}_stderr") is not None:
        return f"{value} ± {row[f'{name}_stderr']:.3f} (standard error)"
    if row.get(f"{name}_low") is not None:
        return f"{value} [{row[f'{name}_low']:.3f}, {row[f'{name}_high']:.3f}]"
    return value


def _table(rows: pl.DataFrame) -> Table:
    shown = [name for name in NUMBERS if name in rows.columns]
    body = [
        [row["method"], row["round"], *(_entry(row, name) for name in shown)]
        for row in rows.iter_rows(named=True)
    ]
    head = ["method", "round", *(NUMBERS[name] for name in shown)]
    return Table(
        "Numbers of every round; ± is one standard error, brackets a 95 % interval", head, body
    )


def _entry(row: dict[str, Any], name: str) -> str:
    if row[name] is None:
        return number(None)
    whole = name in ("steps", "samples", "labels")
    return f"{row[name]:,.0f}" if whole else _pm(row, name).removesuffix(" (standard error)")


def training(source: Source) -> pl.DataFrame:
    """The logs of training: method, step counted through all rounds, and the numbers logged."""
    found = []
    for method in source.rows["method"].unique(maintain_order=True):
        done = 0
        for path in sorted((source.folder / str(method)).glob("round-*/train/log.json")):
            part = [e for e in read_json(path) if "loss" in e]
            found += [
                {"method": method, "at": done + e["step"], "loss": float(e["loss"])} for e in part
            ]
            done = found[-1]["at"] if part else done
    return pl.DataFrame(found)


# --- pictures ----------------------------------------------------------------------------------


def _methods(rows: pl.DataFrame) -> list[str]:
    return [m for m in rows["method"].unique(maintain_order=True) if m != START]


def _rounds(rows: pl.DataFrame) -> Picture:
    """A panel a number, a curve a method, from the start on."""
    shown = [name for name in DRAWN if name in rows.columns and rows[name].count()]
    figure, axes = make_figure(1, len(shown), (3.4, 3.0))
    start = rows.filter(pl.col("method") == START)
    for axis, name in zip(axes[0], shown, strict=True):
        for i, method in enumerate(_methods(rows)):
            own = rows.filter((pl.col("method") == method) & pl.col(name).is_not_null())
            part = pl.concat([start.filter(pl.col(name).is_not_null()), own])
            axis.plot(part["round"], part[name], **series(i), label=method)
            if f"{name}_stderr" in rows.columns:
                error = part[f"{name}_stderr"].fill_null(0.0)
                axis.errorbar(
                    part["round"], part[name], yerr=error, fmt="none", ecolor=series(i)["color"]
                )
        axis.set(title=NUMBERS[name], xlabel="round")
        axis.set_xticks(range(1 + last_round(rows)))
    words = "Numbers after every round; round 0 is the start. Bars are one standard error."
    return Picture("rounds", [figure], words, rows)


def _frontier(rows: pl.DataFrame, by: str) -> Picture:
    """What is gained for how far a policy moves, a path of rounds a method."""
    figure, axes = make_figure(1, 1)
    start = rows.filter(pl.col("method") == START)
    for i, method in enumerate(_methods(rows)):
        own = rows.filter((pl.col("method") == method) & pl.col(by).is_not_null())
        part = pl.concat([start, own], how="diagonal").drop_nulls([by, "kl"])
        axes[0, 0].plot(part["kl"], part[by], **series(i), label=method)
    axes[0, 0].set(
        xlabel=NUMBERS["kl"], ylabel=NUMBERS[by], title="what is gained for how far it moves"
    )
    words = f"{NUMBERS[by].capitalize()} against KL to the start; a path goes through the rounds."
    return Picture("frontier", [figure], words, rows.select("method", "round", "kl", by))


def _training(log: pl.DataFrame) -> Picture:
    figure, axes = make_figure(1, 1)
    for i, method in enumerate(_methods(log)):
        part = log.filter(pl.col("method") == method)
        axes[0, 0].plot(part["at"], part["loss"], **series(i, marker=""), label=method)
    axes[0, 0].set(
        xlabel="gradient step, all rounds", ylabel="training loss", title="training loss"
    )
    axes[0, 0].axhline(0, color=BLACK, lw=0.5)
    return Picture("training", [figure], "Training loss as it was logged.", log)


# --- two runs ----------------------------------------------------------------------------------


def compare(a: Source, b: Source) -> Told:
    """The reward of the answers to each prompt that both were asked, else the last numbers side by side."""
    frames = [_answers_of(source) for source in (a, b)]
    if all(frame.height for frame in frames):
        return told_apart(a, b, Pairs(frames, ["method"], "prompt", "reward"))
    return told_apart(a, b, Pairs([_long(a), _long(b)], ["method", "number"], "run", "value"))


def _answers_of(source: Source) -> pl.DataFrame:
    """The mean reward of each method's last answers to each prompt; empty where none are stored."""
    found = []
    for method in _methods(source.rows):
        paths = sorted((source.folder / method).glob("round-*/evaluate/answers.parquet"))
        rows = pl.read_parquet(paths[-1], glob=False) if paths else pl.DataFrame()
        if "reward" in rows.columns:
            mean = rows.group_by("prompt_key", maintain_order=True).agg(pl.col("reward").mean())
            found.append(
                mean.select(
                    pl.lit(method).alias("method"), pl.col("prompt_key").alias("prompt"), "reward"
                )
            )
    return pl.concat(found) if found else pl.DataFrame()


def _long(source: Source) -> pl.DataFrame:
    """A line a method and number of the last round."""
    rows = last(source.rows)
    shown = [name for name in NUMBERS if name in rows.columns]
    long = rows.unpivot(shown, index="method", variable_name="number").drop_nulls("value")
    return long.with_columns(run=pl.lit(0))


KIND = Kind("llm_run", "a run of llm.run", read, tell, compare)
