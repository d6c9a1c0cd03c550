"""A diagnosis of one's own preferences: its page, its picture, its tables."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from experiments.reporting.kinds.kind import Kind, Source, Told
from experiments.reporting.kinds.tidy import images, reports
from spac_theory.checks import InputError

PAGE = "diagnosis.md"
TABLES = ("diagnosis", "recommended", "label_next", "contexts", "strata")


def read(folder: Path) -> Source | None:
    """The folder of `experiments.diagnose`."""
    if not (folder / PAGE).is_file():
        return None
    path = folder / "diagnosis.csv"
    rows = pl.read_csv(path) if path.is_file() else pl.DataFrame()
    return Source(folder, KIND.name, rows)


def tell(source: Source) -> Told:
    """Its own page has the answers; the files beside it are the data."""
    found = {name: source.folder / f"{name}.csv" for name in TABLES}
    data = {name: pl.read_csv(path) for name, path in found.items() if path.is_file()}
    return Told([], reports=reports(source), images=images(source), data=data)


def compare(a: Source, b: Source) -> Told:
    """Not a matter of pairs: two files of preferences share no data set."""
    raise InputError(
        f"{a.folder} is a diagnosis; two files of preferences have no data set in common."
    )


KIND = Kind("diagnosis", "a diagnosis's folder", read, tell, compare)
