"""A season: every entry tuned on data sets of its own, then played by default and tuned."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from experiments.common.provenance import facts
from experiments.common.table import make_console
from experiments.engine.collect import rows_of
from experiments.engine.progress import show_progress
from experiments.engine.specs import Spec
from experiments.engine.store import stack
from experiments.engine.units import Unit, pending
from experiments.studies.league.analysis import coefficients, metric, write_report
from experiments.studies.league.cells import League, read_league

Row = dict[str, Any]
Cell = tuple[float, int, str]


def play(league: League, units: list[Unit], console: Console, logs: Path) -> None:
    """Run what is not in the store yet; jobs of a cluster write into `logs`."""
    left = [unit for unit in (pending(u) for u in units) if unit is not None]
    fits = sum(len(unit.algorithms) for unit in left)
    with closing(league.settings.launcher.run(left, logs)) as reports:
        for _ in show_progress(reports, fits, console):
            pass


def tune(league: League, console: Console, logs: Path) -> dict[Cell, int]:
    """The best setting of every entry at every cell, by the mean of the `metric` on other data sets."""
    units = {}
    for dial, n, label in league.cells():
        named = {str(k): spec for k, spec in enumerate(league.specs[label])}
        if len(named) > 1:
            units[dial, n, label] = league.unit(dial, n, named, tuning=True)
    console.print("tuning")
    play(league, list(units.values()), console, logs)
    best = {key: 0 for key in league.cells()}
    for key, unit in units.items():
        means = [_mean(rows_of(unit, name)) for name in unit.algorithms]
        best[key] = means.index(min(means))
    return best


def _mean(rows: pl.DataFrame) -> float:
    """Mean of what entries are judged by, infinite where there is none."""
    mean = rows[metric(rows)].mean()
    return float(mean) if isinstance(mean, float) else float("inf")


def season(league: League, console: Console, logs: Path = Path("slurm")) -> pl.DataFrame:
    """Rows of all entries, twice: `tuning` says whether by default or tuned."""
    best = tune(league, console, logs)
    units = {}
    for dial, n, label in league.cells():
        chosen = sorted({0, best[dial, n, label]})
        named: dict[str, Spec] = {str(k): league.specs[label][k] for k in chosen}
        units[dial, n, label] = league.unit(dial, n, named)
    console.print("playing")
    play(league, list(units.values()), console, logs)
    frames = []
    for key, unit in units.items():
        for kind, k in (("default", 0), ("tuned", best[key])):
            told = {"algorithm": key[2], "tuning": kind}
            frames.append(
                rows_of(unit, str(k)).with_columns(pl.lit(v).alias(c) for c, v in told.items())
            )
    return stack(frames)


def coverage_rows(league: League) -> list[Row]:
    """The coverage coefficients of every dial."""
    rows = []
    for dial in league.dials:
        setting = league.unit(dial, league.settings.n[0], {}).setting()
        found = coefficients(setting.problem, setting.behaviour, league.settings.kl_radius)
        rows.append({"dial": dial, **found})
    return rows


def run_league(values: Mapping[str, Any], output: Path) -> bool:
    """Tune, play, report; returns whether no fit failed."""
    league, console = read_league(values), make_console()
    rows = season(league, console, output / "slurm")
    needs = {label: entry.needs for label, entry in league.entries.items()}
    write_report(output, rows, coverage_rows(league), needs, console, facts(values))
    return not bool((rows["status"] == "failed").any())
