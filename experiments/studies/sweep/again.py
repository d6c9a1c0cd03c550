"""What became of a sweep, and its numbers once more: `status`, `retry`, `reproduce` of `experiments.sweeps`.

A sweep notes its settings, command, commit and environment in `run.json` before it computes anything, so
all three work on one that was cut off.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from experiments.common.files import read_json, write_text
from experiments.common.provenance import commit, facts
from experiments.engine.collect import collect
from experiments.engine.columns import environment
from experiments.engine.executor import run_units
from experiments.engine.store import read_results
from experiments.engine.units import Unit, by_cost
from experiments.studies.sweep.cells import Sweep, read_sweep
from spac_theory import InputError

RECORD = "run.json"
RECENT = 50  # blocks that the speed is measured on
SHOWN = 5  # failures that are told with their reason
UNTOLD = "seconds"  # the one column that two runs of the same fit need not share


def note(settings: Mapping[str, Any], output: Path) -> None:
    """Write what is about to run, and with what."""
    told = {**facts(settings), "configuration": dict(settings), "environment": environment()}
    write_text(output / RECORD, json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def recorded(folder: Path) -> dict[str, Any]:
    """The record of a sweep's folder. Raises InputError where there is none."""
    path = folder / RECORD
    if not path.is_file():
        raise InputError(f"DIR is {str(folder)!r}, which has no {RECORD}; name a sweep's folder.")
    try:
        found: dict[str, Any] = read_json(path)
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); run the sweep's command again.") from error
    return found


def sweep_of(folder: Path) -> tuple[Sweep, Path]:
    """The sweep that a folder belongs to, and its store."""
    sweep = read_sweep(recorded(folder)["configuration"])
    return sweep, Path(sweep.settings.store).expanduser()


@dataclass(frozen=True)
class Status:
    """Fits of a sweep by what became of them, reasons of failures, and seconds left (None: unknown)."""

    done: int
    failed: int
    missing: int
    reasons: tuple[str, ...]
    left: float | None

    def lines(self) -> list[str]:
        """The status in sentences."""
        total = self.done + self.failed + self.missing
        said = [
            f"{total:,} fits: {self.done:,} done, {self.failed:,} failed, {self.missing:,} missing"
        ]
        if self.failed + self.missing:
            pace = "unknown" if self.left is None else duration(self.left)
            said.append(f"time left at the pace of the last fits: {pace}")
        return [*said, *(f"failed: {reason}" for reason in self.reasons[:SHOWN])]


def duration(seconds: float) -> str:
    """Seconds in the largest unit that says something."""
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"


def status(folder: Path) -> Status:
    """What became of every fit of a sweep, also while it runs."""
    sweep, store = sweep_of(folder)
    times, reasons, missing = [], [], 0
    for unit in sweep.units(store):
        for label in unit.algorithms:
            cell = unit.cell(label)
            path, record = cell.block_path(unit.block), cell.read_error(unit.block)
            if path is not None:
                times.append(path.stat().st_mtime)
            elif record:
                reasons.append(f"{label} ({unit}): {record.get('reason')}")
            else:
                missing += 1
    left = _left(sorted(times)[-RECENT:], len(reasons) + missing)
    return Status(len(times), len(reasons), missing, tuple(reasons), left)


def _left(times: list[float], open_fits: int) -> float | None:
    """Seconds for `open_fits` at the pace of the last ones; None where there was none, or none of late."""
    if len(times) < 2 or time.time() - times[-1] > 3600:
        return None
    return open_fits * (times[-1] - times[0]) / (len(times) - 1)


# --- the same numbers --------------------------------------------------------------------------


def differences(ours: pl.DataFrame, theirs: pl.DataFrame) -> list[str]:
    """Columns in which two tables of the same rows differ in some bit; the processor time is left out."""
    if ours.height != theirs.height:
        return [f"rows ({ours.height} and {theirs.height})"]
    names = [name for name in dict.fromkeys(ours.columns + theirs.columns) if name != UNTOLD]
    return [
        name
        for name in names
        if name not in ours.columns
        or name not in theirs.columns
        or not ours[name].equals(theirs[name].cast(ours[name].dtype))
    ]


def again(folder: Path, row: int | None, processes: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows as they are in `results.parquet`, and computed once more in a store of their own."""
    sweep, _ = sweep_of(folder)
    stored = read_results(folder)
    if row is not None and not 0 <= row < stored.height:
        raise InputError(f"ROW is {row}; {folder} has the rows 0 to {stored.height - 1}.")
    with tempfile.TemporaryDirectory() as place:
        units = list(sweep.units(Path(place)))
        if row is not None:
            wanted = stored.row(row, named=True)
            units = [_part(unit, wanted) for unit in units if _holds(unit, wanted)]
            stored = stored[row : row + 1]
        for _ in run_units(by_cost(units), processes):
            pass
        fresh = collect(units, sweep.seeds)
    if row is not None:
        fresh = fresh.filter(pl.col("seed") == stored["seed"][0])
    kept = [name for name in fresh.columns if name in stored.columns or _told(fresh[name])]
    lacking = [name for name in stored.columns if name not in kept]
    return stored.drop([n for n in lacking if not _told(stored[n])]), fresh.select(kept)


def _told(column: pl.Series) -> bool:
    return column.null_count() < len(column)


def _holds(unit: Unit, row: Mapping[str, Any]) -> bool:
    return (unit.dial, unit.n) == (row["dial"], row["n"]) and row["seed"] in unit.seeds


def _part(unit: Unit, row: Mapping[str, Any]) -> Unit:
    label = row["algorithm"]
    return replace(unit, algorithms={label: unit.algorithms[label]})


def reproduce(folder: Path, row: int | None, console: Console, processes: int = 0) -> bool:
    """Compute a sweep, or one row of it, once more and compare bit by bit; what differs is said."""
    record = recorded(folder)
    here = {"commit": commit(), **environment()}
    then = {"commit": record["commit"], **record["environment"]}
    for name in [name for name in here if here[name] != then.get(name)]:
        console.print(f"{name} is {here[name]} here and was {then.get(name)}", highlight=False)
    stored, fresh = again(folder, row, processes)
    apart = differences(stored, fresh)
    what = f"row {row}" if row is not None else f"{stored.height:,} rows"
    if apart:
        console.print(f"{what}: different in {', '.join(apart)}", markup=False, highlight=False)
        return False
    console.print(f"{what}: the same to the last bit", highlight=False)
    return True
