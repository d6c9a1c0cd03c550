"""The coverage sweep from checked settings to figures; `experiments.coverage_sweep` is its program."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.common.files import make_folder
from experiments.common.program import Outcome
from experiments.common.provenance import facts
from experiments.common.table import make_console, show_paths
from experiments.engine.columns import write_results
from experiments.engine.progress import show_progress
from experiments.engine.store import open_store
from experiments.engine.units import Unit, by_cost, pending
from experiments.studies.sweep.again import note
from experiments.studies.sweep.cells import Sweep, read_sweep


def pending_units(sweep: Sweep, store: Path) -> list[Unit]:
    """What is left to do, longest first; finished cells are dropped before anything starts."""
    left = (pending(unit) for unit in sweep.units(store))
    return by_cost([unit for unit in left if unit is not None])


def dry_run(units: list[Unit], console: Console) -> None:
    """Say what would run."""
    fits = sum(len(unit.algorithms) for unit in units)
    console.print(f"{fits} fits in {len(units)} units would run:")
    for unit in units:
        console.print(f"  {unit}: {', '.join(unit.algorithms)}", markup=False, highlight=False)


def coverage_sweep(settings: dict[str, Any], output: Path) -> Outcome:
    """Compute, collect, report; the value for a sweeper is the mean suboptimality of all fits."""
    sweep = read_sweep(settings)
    store, console = open_store(sweep.settings.store), make_console()
    units = pending_units(sweep, store)
    if sweep.settings.dry_run:
        dry_run(units, console)
        return Outcome(complete=True)
    make_folder(store)  # before anything is written beside it
    note(settings, output)
    fits = sum(len(unit.algorithms) for unit in units)
    console.print(
        f"{fits} fits to compute, in {len(units)} units" if fits else "nothing to compute"
    )
    launcher = sweep.settings.launcher
    with closing(launcher.run(units, output / "slurm")) as reports:
        for _ in show_progress(reports, fits, console):
            pass
    return report(sweep, store, output, console, facts(settings))


def report(
    sweep: Sweep, store: Path, output: Path, console: Console, told: dict[str, str]
) -> Outcome:
    """Tidy results, table and figures of a finished sweep."""
    from experiments.engine.collect import collect, status_line
    from experiments.studies.sweep.analysis import aggregate
    from experiments.studies.sweep.figure import write_figures
    from experiments.studies.sweep.table import write_summary

    results = collect(sweep.units(store), sweep.seeds)
    write_results(results, output / "results.parquet", facts=told)
    curves = aggregate(results, sweep.settings.learner.delta)
    tables = write_summary(curves, output, console)
    figures = write_figures(curves, sweep.settings.figure, output)
    console.print(status_line(results))
    show_paths([output / "results.parquet", *tables, *figures], console)
    mean = results.filter(status="done")["suboptimality"].mean()
    complete = not (results["status"] == "failed").any()
    return Outcome(complete, float(mean) if isinstance(mean, float) else None)
