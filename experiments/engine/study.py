"""A small study is data: its cells, what one cell computes, its columns, a table and figures.

:meth:`Study.__call__` is the engine of all of them: settings are read and cells made before anything is
computed; finished cells are read back from the store; what is left runs with a progress line; rows,
table and figures go into one folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import polars as pl
from matplotlib.figure import Figure
from rich.console import Console

from experiments.common.configuration import read
from experiments.common.figure import save
from experiments.common.files import write_text
from experiments.common.provenance import facts
from experiments.common.table import Table, make_console, show_paths
from experiments.engine.columns import COLUMNS, Column, write_results
from experiments.engine.store import CellFiles, identity, open_store

Cell = dict[str, Any]
Columns = dict[str, Any]
S = TypeVar("S")
R = TypeVar("R", contravariant=True)


@dataclass(frozen=True)
class Told:
    """What a study reports: a table, and remarks below it."""

    table: Table
    remarks: tuple[str, ...] = ()


class CellsPart(Protocol[S]):
    """`cells.py` of a study: what is computed."""

    @property
    def Settings(self) -> type[S]:
        """Dataclass of its configuration; it has a field `store`."""
        ...

    @property
    def COLUMNS(self) -> Mapping[str, Column]:
        """What its own columns are; a common one keeps its meaning."""
        ...

    def cells(self, settings: S, /) -> list[Cell]:
        """Settings to cells, plain data each."""
        ...

    def compute(self, cell: Cell, /) -> Columns:
        """A cell to columns, one entry a data set."""
        ...


class AnalysisPart(Protocol[R]):
    """`analysis.py` of a study: what is told."""

    def report(self, rows: pl.DataFrame, settings: R, /) -> Told:
        """Rows and settings to the table."""
        ...


class FigurePart(Protocol[R]):
    """`figure.py` of a study: what is drawn."""

    def draw(self, rows: pl.DataFrame, settings: R, /) -> Figure:
        """Rows and settings to the figure."""
        ...


@dataclass(frozen=True)
class Study(Generic[S]):
    """One small study.

    Attributes
    ----------
    name : of its configuration, its figure and its cells in the store
    settings : dataclass of its configuration; it has a field `store`
    cells : settings to cells, plain data each
    compute : a cell to columns, one entry a data set
    columns : what its own columns are; a common one keeps its meaning
    report : rows and settings to the table
    draw : rows and settings to the figure
    """

    name: str
    settings: type[S]
    cells: Callable[[S], list[Cell]]
    compute: Callable[[Cell], Columns]
    columns: Mapping[str, Column]
    report: Callable[[pl.DataFrame, S], Told]
    draw: Callable[[pl.DataFrame, S], Figure]

    @classmethod
    def of(
        cls, name: str, cells: CellsPart[S], analysis: AnalysisPart[S], figure: FigurePart[S]
    ) -> Study[S]:
        """The study of a folder, by its three modules."""
        parts = (cells.Settings, cells.cells, cells.compute, cells.COLUMNS)
        return cls(name, *parts, analysis.report, figure.draw)

    def __post_init__(self) -> None:
        taken = sorted(set(self.columns) & set(COLUMNS))
        if taken:
            raise ValueError(
                f"study {self.name} gives the common column {taken[0]} its own meaning"
            )

    def __call__(self, values: Mapping[str, Any], output: Path) -> bool:
        """Run and report; True: a study has no fit that may fail."""
        settings, console = read(self.settings, values), make_console()
        cells, store = self.cells(settings), open_store(getattr(settings, "store", ""))
        rows = self.rows(cells, store, console)
        told, drawn = self.report(rows, settings), self.draw(rows, settings)
        paths = [output / "results.parquet", output / "summary.md"]
        write_results(rows, paths[0], self.columns, {**facts(values), "study": self.name})
        write_text(
            paths[1], told.table.markdown() + "".join(f"\n- {r}" for r in told.remarks) + "\n"
        )
        paths += save(drawn, output / self.name)
        told.table.show(console)
        for remark in told.remarks:
            console.print(remark, markup=False, highlight=False)
        show_paths(paths, console)
        return True

    def rows(self, cells: list[Cell], store: Path, console: Console) -> pl.DataFrame:
        """The rows of every cell, computed where the store has none."""
        frames, start = [], time.monotonic()
        for index, cell in enumerate(cells):
            files = CellFiles(store, identity({"study": self.name, **cell}))
            files.check()
            if not files.done(0):
                files.write_block(0, numbered(self.compute(cell)), self.columns)
                if (index + 1) * 10 // len(cells) > index * 10 // len(cells):
                    line = f"{index + 1} of {len(cells)} cells, {time.monotonic() - start:.0f} s"
                    console.print(line, highlight=False)
            frames.append(files.read(0))
        rows = pl.concat(frames, how="diagonal_relaxed")
        return rows[[column.name for column in rows if column.null_count() < len(rows)]]


def numbered(columns: Columns) -> Columns:
    """Columns with `seed`; a plain value counts for every data set."""
    count = next(len(values) for values in columns.values() if isinstance(values, list))
    full = {k: v if isinstance(v, list) else [v] * count for k, v in columns.items()}
    return {"seed": list(range(count)), **full}


def stacked(cells: list[Cell], compute: Callable[[Cell], Columns]) -> pl.DataFrame:
    """The rows of all cells, computed here and now, without a store."""
    frames = [pl.DataFrame(numbered(compute(cell))) for cell in cells]
    return pl.concat(frames, how="diagonal_relaxed")
