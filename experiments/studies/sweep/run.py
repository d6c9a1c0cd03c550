"""The coverage sweep from checked settings to figures; `experiments.coverage_sweep` is its program."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.engine.executor import run_units
from experiments.engine.progress import make_console, show_progress
from experiments.engine.specs import Sweep, read_sweep
from experiments.engine.units import Report, Unit, all_units, by_cost, pending
from spac_theory import checks


def pending_units(sweep: Sweep, store: Path) -> list[Unit]:
    """What is left to do, longest first; finished cells are dropped before anything starts."""
    left = (pending(unit) for unit in all_units(sweep, store))
    return by_cost([unit for unit in left if unit is not None])


def launch(units: list[Unit], launcher: dict[str, Any], output: Path) -> Generator[Report]:
    """Run the units where the launcher says."""
    kind = checks.choice("launcher.name", launcher.get("name"), ("local", "slurm"))
    if kind == "slurm":
        from experiments.engine.slurm import run_on_slurm

        return run_on_slurm(units, launcher, output / "slurm")
    processes = launcher.get("processes")
    count = (
        _cores() if processes is None else checks.integer("launcher.processes", processes, low=0)
    )
    return run_units(units, count)


def _cores() -> int:
    """Processor cores this process may use."""
    import os

    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def dry_run(units: list[Unit], console: Console) -> None:
    """Say what would run."""
    fits = sum(len(unit.algorithms) for unit in units)
    console.print(f"{fits} fits in {len(units)} units would run:")
    for unit in units:
        console.print(f"  {unit}: {', '.join(unit.algorithms)}", markup=False, highlight=False)


def coverage_sweep(settings: dict[str, Any], output: Path) -> bool:
    """Compute, collect, report; returns whether no fit failed."""
    sweep, store = read_sweep(settings), Path(settings["store"])
    console = make_console()
    units = pending_units(sweep, store)
    if settings["dry_run"]:
        dry_run(units, console)
        return True
    fits = sum(len(unit.algorithms) for unit in units)
    console.print(
        f"{fits} fits to compute, in {len(units)} units" if fits else "nothing to compute"
    )
    with closing(launch(units, settings["launcher"], output)) as reports:
        for _ in show_progress(reports, fits, console):
            pass
    return report(sweep, settings, store, output, console)


def report(
    sweep: Sweep, settings: dict[str, Any], store: Path, output: Path, console: Console
) -> bool:
    """Tidy results, table and figures of a finished sweep."""
    from experiments.engine.collect import collect, status_line, write_results
    from experiments.studies.sweep.analysis import aggregate
    from experiments.studies.sweep.figure import write_figures
    from experiments.studies.sweep.table import write_summary
    from experiments.studies.sweep.theorem import theorem_curve

    results = collect(sweep, store)
    write_results(results, output / "results.parquet")
    curves = aggregate(results, sweep.learner["delta"])
    theorem = theorem_curve(sweep)
    tables = write_summary(curves, theorem, output, console)
    figures = write_figures(curves, theorem, settings["figure"], output)
    console.print(status_line(results))
    for path in [output / "results.parquet", *tables, *figures]:
        console.print(f"  {path}", markup=False, highlight=False, soft_wrap=True)
    return not (results["status"] == "failed").any()
