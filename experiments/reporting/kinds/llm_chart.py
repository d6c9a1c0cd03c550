"""A chart or a league of language-model methods: every one at the best of as many settings, cell by cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from experiments.common.figure import make_figure
from experiments.common.files import read_json
from experiments.common.style import BLACK, GREY, RED
from experiments.common.table import Table, plus_minus
from experiments.reporting.kinds.kind import Kind, Picture, Source, Told
from experiments.reporting.kinds.paired import Pairs, told_apart
from spac_theory.statistics import mean_interval

PROGRAMS = {"chart.json": "llm.chart", "league.json": "llm.chart --config-name league"}
CELL = ["language", "coverage", "n"]
START, EXACT = "sft", "bandit"  # the start, and exact SPAC in the bandit behind the language
SPENT = ("steps", "samples", "labels")
WORDS = {START: "SFT", EXACT: "exact SPAC, told k"}


def read(folder: Path) -> Source | None:
    """The folder of `llm.chart` in either configuration, whose rows are alike."""
    path = next((folder / name for name in PROGRAMS if (folder / name).is_file()), None)
    if path is None:
        return None
    found = read_json(path)
    made = {str(k): str(v) for k, v in found.get("made", {}).items()}
    rows = pl.DataFrame(found["rows"], infer_schema_length=None)
    command = made.pop("command", f"python -m {PROGRAMS[path.name]}")
    return Source(folder, KIND.name, rows, command, made, found)


def means(rows: pl.DataFrame) -> pl.DataFrame:
    """A line a cell and setting: seeds, mean suboptimality and its 95 % interval, other columns' means."""
    found = []
    for key, part in rows.group_by([*CELL, "setting"], maintain_order=True):
        mean = mean_interval(part["suboptimality"].to_list())
        others: dict[str, Any] = {n: part[n].mean() for n in ("kl", *SPENT) if n in part.columns}
        told = {"seeds": part.height, "mean": mean.estimate, "low": mean.low, "high": mean.high}
        place: dict[str, Any] = dict(zip([*CELL, "setting"], key, strict=True))
        found.append({**place, "method": part["method"][0], **told, **others})
    return pl.DataFrame(found, infer_schema_length=None)


def tell(source: Source) -> Told:
    """Who is best in each cell, every seed a mark, what was tuned."""
    if source.rows.is_empty():
        return Told(["No cell of this chart is finished yet."])
    lines = means(source.rows)
    tables = [_table(lines)]
    tuning = pl.DataFrame(source.more.get("tuning", []), infer_schema_length=None)
    if tuning.height:
        tables.append(_tuning(tuning, source.more.get("chosen", {})))
    ablations = pl.DataFrame(source.more.get("ablations", []), infer_schema_length=None)
    data = {f"{source.name}_rows": source.rows, "tuning": tuning, "ablations": ablations}
    kept = {name: frame for name, frame in data.items() if frame.height}
    reports = sorted(source.folder.glob("league.md"))
    return Told(_answers(lines), [_picture(source.rows)], tables, reports, data=kept)


def _place(row: dict[str, Any]) -> str:
    return f"{row['language']}, coverage {row['coverage']:g}, n = {row['n']:,}"


def _answers(lines: pl.DataFrame) -> list[str]:
    said = []
    for _, part in lines.group_by(CELL, maintain_order=True):
        learned = part.filter(~pl.col("method").is_in([START, EXACT])).sort("mean")
        order = [f"{r['setting']} {r['mean']:.3f}" for r in learned.head(3).iter_rows(named=True)]
        if order:
            seeds = max(learned["seeds"].to_list())
            told = part.filter(pl.col("method") == EXACT)["mean"].to_list()
            exact = f" (exact SPAC, told k: {told[0]:.3f})" if told else ""
            where = _place(part.row(0, named=True))
            many = "one seed" if seeds == 1 else f"{seeds} seeds"
            said.append(f"{where}: smallest mean suboptimality {', '.join(order)}; {many}{exact}.")
    return said


def _table(lines: pl.DataFrame) -> Table:
    head = [
        "setting",
        "cell",
        "seeds",
        "suboptimality",
        "KL",
        "gradient steps",
        "samples",
        "labels",
    ]
    body = [
        [
            WORDS.get(row["setting"], row["setting"]), _place(row), row["seeds"],
            plus_minus(row["mean"], (row["high"] - row["low"]) / 2, 3),
            row["kl"], *(None if row[k] is None else f"{row[k]:,.0f}" for k in SPENT),
        ]
        for row in lines.iter_rows(named=True)
    ]  # fmt: skip
    return Table("Mean over seeds that no setting was chosen on", head, body, left=2)


def _tuning(rows: pl.DataFrame, chosen: dict[str, dict[str, str]]) -> Table:
    body = [
        [
            row["setting"], _place(row), row["suboptimality"],
            "chosen" if row["setting"] in chosen.get(row["language"], {}).values() else "",
        ]
        for row in rows.iter_rows(named=True)
    ]  # fmt: skip
    return Table(
        "Every setting tried in tuning", ["setting", "cell", "suboptimality", ""], body, left=2
    )


def _picture(rows: pl.DataFrame) -> Picture:
    """A panel a cell: every seed a mark, the mean a bar."""
    cells = list(rows.group_by(CELL, maintain_order=True))
    figure, axes = make_figure(1, len(cells), (3.4, 3.0))
    for axis, (_, part) in zip(axes[0], cells, strict=True):
        exact = part.filter(pl.col("method") == EXACT)["suboptimality"].mean()
        if exact is not None:
            axis.axvline(exact, color=GREY, ls="--", label=WORDS[EXACT])
        kept = part.filter(pl.col("method") != EXACT)
        settings = kept["setting"].unique(maintain_order=True).to_list()[::-1]
        for y, setting in enumerate(settings):
            values = kept.filter(pl.col("setting") == setting)["suboptimality"]
            colour = RED if str(setting).startswith("spac") else BLACK
            axis.plot(values, [y] * len(values), "o", ms=5, mfc="none", color=colour)
            axis.plot([values.mean()] * 2, [y - 0.3, y + 0.3], color=colour, lw=2.5)
        axis.set_yticks(range(len(settings)), [WORDS.get(s, s) for s in settings])
        axis.set(xlabel="suboptimality", title=_place(part.row(0, named=True)))
        axis.set_xlim(left=0)
    words = "Suboptimality of the last iterate: a mark a seed, a bar the mean. Dashed: exact SPAC, told k."
    return Picture("chart", [figure], words, rows)


def compare(a: Source, b: Source) -> Told:
    """Seed by seed, in every cell and at every setting that both have."""
    keys = [*CELL, "setting"]
    columns = [*keys, "seed", "suboptimality"]
    frames = [source.rows.select(columns) for source in (a, b)]
    return told_apart(a, b, Pairs(frames, keys, "seed", "suboptimality"))


KIND = Kind("llm_chart", "a chart or league of llm.chart", read, tell, compare)
