"""The whole field in one table, and beside it what coverage each method needs.

    python -m experiments.league

Every entry of `league_entries` meets the same data sets at every dial and sample size, once with its
default options and once with the best of its settings, chosen on other data sets with the true
reward in hand. Cells are kept in the store of the sweeps: a season that was stopped goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import polars as pl
from omegaconf import DictConfig
from rich.console import Console

from experiments.common.program import CONFIGURATION, run_program
from experiments.engine.executor import run_units
from experiments.engine.progress import show_progress
from experiments.engine.specs import Spec, build_behaviour, build_problem, load, resolve
from experiments.engine.store import read_block
from experiments.engine.units import Unit, pending, setting
from experiments.studies.league.analysis import coefficients, write_report
from experiments.studies.league.entries import ENTRIES, Entry
from spac_theory import InputError, checks

WIDTH = 120  # of the table where there is no screen
Row = dict[str, Any]


@dataclass(frozen=True)
class League:
    """A checked configuration; see `conf/league.yaml` for the fields.

    `settings` has the specs of each entry, the defaults first.
    """

    store: Path
    problem: Spec
    behaviour: Spec
    dials: tuple[float, ...]
    sizes: tuple[int, ...]
    learner: Spec
    seeds: int
    tuning_seeds: int
    kl_radius: float
    entries: dict[str, Entry]
    settings: dict[str, list[Spec]]
    processes: int
    plugins: tuple[str, ...] = ()

    def unit(
        self, dial: float, n: int, algorithms: dict[str, Spec], *, tuning: bool = False
    ) -> Unit:
        """The data sets to report on, or other ones to tune on, at one cell."""
        size = self.tuning_seeds if tuning else self.seeds
        block = -(-self.seeds // size) if tuning else 0
        place = str(self.store.resolve()), self.problem, self.behaviour, dial, n, self.learner
        return Unit(*place, block, size, algorithms, self.plugins)


def read(config: Mapping[str, Any]) -> League:
    """Check everything before any work starts."""
    plugins = load(config["plugins"])
    behaviour = dict(config["behaviour"])
    dials = [checks.number("behaviour.dials", d) for d in behaviour.pop("dials")]
    sizes = [checks.integer("sizes", n, low=1) for n in config["sizes"]]
    if not dials or not sizes:
        raise InputError("behaviour.dials or sizes is empty; each needs at least one value.")
    problem, family = (
        resolve("problem", "problem", config["problem"]),
        resolve("behaviour", "behaviour", behaviour),
    )
    for dial in dials:
        build_behaviour(family).policy(build_problem(problem), dial)
    entries = _entries(config)
    return League(
        Path(str(config["store"])),
        problem,
        family,
        tuple(dials),
        tuple(sizes),
        {
            "delta": 0.1,
            "reference": "behaviour",
            "baseline": "behaviour",
            "labels": checks.integer("labels", config["labels"]),
        },
        checks.integer("seeds", config["seeds"], low=2),
        checks.integer("tuning_seeds", config["tuning_seeds"], low=1),
        checks.number("kl_radius", config["kl_radius"], low=0),
        entries,
        {label: _settings(label, entry) for label, entry in entries.items()},
        checks.integer("processes", config["processes"]),
        plugins,
    )


def _entries(config: Mapping[str, Any]) -> dict[str, Entry]:
    """The entries asked for, and those of the configuration itself (one setting each)."""
    asked = list(config["algorithms"]) or list(ENTRIES)
    for label in asked:
        checks.choice("algorithms", label, ENTRIES)
    own = {}
    for label, spec in dict(config["extra"]).items():
        found = resolve("algorithm", f"extra.{label}", spec)
        own[str(label)] = Entry(found["name"], fixed=tuple(found["options"].items()))
    return {**{label: ENTRIES[label] for label in asked}, **own}


def _settings(label: str, entry: Entry) -> list[Spec]:
    return [resolve("algorithm", label, {"name": entry.algorithm, **o}) for o in entry.settings]


def cells(league: League) -> Iterator[tuple[float, int, str]]:
    """Dial, sample size and entry of every cell."""
    for n in sorted(league.sizes):
        for dial in league.dials:
            for label in league.entries:
                yield dial, n, label


def play(league: League, units: list[Unit], console: Console) -> None:
    """Run what is not in the store yet."""
    left = [unit for unit in (pending(u) for u in units) if unit is not None]
    fits = sum(len(unit.algorithms) for unit in left)
    for _ in show_progress(run_units(left, league.processes), fits, console):
        pass


def rows_of(unit: Unit, label: str) -> pl.DataFrame:
    """The rows of one setting on the data of a unit; one row that says why where it failed."""
    cell = unit.cell(label)
    if cell.done(unit.block):
        return read_block(cell.block_path(unit.block))
    reason = cell.read_error(unit.block).get("reason", "was not run")
    return pl.DataFrame([{"status": "failed", "reason": str(reason)}])


def tune(league: League, console: Console) -> dict[tuple[float, int, str], int]:
    """The best setting of every entry at every cell, by mean suboptimality on other data sets."""
    units = {}
    for dial, n, label in cells(league):
        named = {str(k): spec for k, spec in enumerate(league.settings[label])}
        if len(named) > 1:
            units[dial, n, label] = league.unit(dial, n, named, tuning=True)
    console.print("tuning")
    play(league, list(units.values()), console)
    best = {key: 0 for key in cells(league)}
    for key, unit in units.items():
        means = [_mean(rows_of(unit, name)) for name in unit.algorithms]
        best[key] = means.index(min(means))
    return best


def _mean(rows: pl.DataFrame) -> float:
    """Mean suboptimality, infinite where there is none."""
    if "suboptimality" not in rows.columns:
        return float("inf")
    mean = rows["suboptimality"].mean()
    return float(mean) if isinstance(mean, float) else float("inf")


def season(league: League, console: Console) -> pl.DataFrame:
    """Rows of all entries, twice: `options` says whether by default or tuned."""
    best = tune(league, console)
    units = {}
    for dial, n, label in cells(league):
        chosen = {0, best[dial, n, label]}
        named = {str(k): league.settings[label][k] for k in sorted(chosen)}
        units[dial, n, label] = league.unit(dial, n, named)
    console.print("playing")
    play(league, list(units.values()), console)
    frames = []
    for (dial, n, label), unit in units.items():
        for kind, k in (("default", 0), ("tuned", best[dial, n, label])):
            place = (pl.lit(v).alias(c) for c, v in (("algorithm", label), ("dial", dial)))
            shown = (pl.lit(n).cast(pl.Int64).alias("n"), pl.lit(kind).alias("options"))
            options = pl.lit(str(league.settings[label][k]["options"])).alias("setting")
            frames.append(rows_of(unit, str(k)).with_columns(*place, *shown, options))
    return pl.concat(frames, how="diagonal_relaxed")


def coverage_rows(league: League) -> list[Row]:
    """The coverage coefficients of every dial."""
    rows = []
    for dial in league.dials:
        place = setting(league.unit(dial, league.sizes[0], {}))
        found = coefficients(place.problem, place.behaviour, league.kl_radius)
        rows.append({"dial": dial, **found})
    return rows


def league(settings: dict[str, Any], output: Path) -> bool:
    """Tune, play, report; returns whether no fit failed."""
    checked = read(settings)
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    rows = season(checked, console)
    needs = {label: entry.needs for label, entry in checked.entries.items()}
    write_report(output, rows, coverage_rows(checked), needs, console)
    return not bool((rows["status"] == "failed").any())


@hydra.main(version_base="1.3", config_path=CONFIGURATION, config_name="league")
def main(config: DictConfig) -> None:
    """Entry point."""
    run_program(league, config)


if __name__ == "__main__":
    main()
