"""Progress for people: a bar with the time left on a terminal, one line every tenth elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from experiments.engine.units import Report


def show_progress(reports: Iterable[Report], total: int, console: Console) -> Iterator[Report]:
    """Pass reports on and show how many of the `total` fits are finished."""
    shown = (
        _bar(reports, total, console) if console.is_terminal else _lines(reports, total, console)
    )
    yield from shown


def _bar(reports: Iterable[Report], total: int, console: Console) -> Iterator[Report]:
    columns = (
        TextColumn("fitting"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("fits", total=total)
        for report in reports:
            progress.advance(task, report.fits)
            _tell_failures(report, console)
            yield report


def _lines(reports: Iterable[Report], total: int, console: Console) -> Iterator[Report]:
    start, finished, tenth = time.monotonic(), 0, 0
    for report in reports:
        finished += report.fits
        _tell_failures(report, console)
        if finished * 10 // max(total, 1) > tenth:
            tenth = finished * 10 // max(total, 1)
            elapsed = time.monotonic() - start
            left = elapsed / finished * (total - finished)
            console.print(f"{finished} of {total} fits, {elapsed:.0f} s, about {left:.0f} s left")
        yield report


def _tell_failures(report: Report, console: Console) -> None:
    for reason in report.failed:
        console.print(f"failed: {reason}", markup=False, style="red")
