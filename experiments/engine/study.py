"""What the small programs share: cells computed once and kept, a table, figures, a folder.

A study is a list of cells (plain settings) and a function from a cell to columns. Finished cells are
read back from the store; what is left runs with a progress line; everything is collected in
`results.parquet`.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
import polars as pl
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from experiments.common.files import write_atomically, write_text
from experiments.common.style import use_style
from experiments.engine.store import CellFiles, identity, read_block

Cell = dict[str, Any]
Columns = dict[str, Any]
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))


def run_cells(
    name: str,
    cells: list[Cell],
    compute: Callable[[Cell], Columns],
    store: Path,
    console: Console | None = None,
) -> pl.DataFrame:
    """The rows of every cell, computed where the store has none; `compute` sees one cell."""
    frames, start = [], time.monotonic()
    for index, cell in enumerate(cells):
        files = CellFiles(store, identity({"study": name, **cell}))
        files.check()
        if not files.done(0):
            columns = compute(cell)
            if "seed" not in columns:
                columns["seed"] = list(range(len(next(iter(columns.values())))))
            files.write_block(0, columns)
            tenth = (index + 1) * 10 // len(cells)
            if console is not None and tenth > index * 10 // len(cells):
                done = f"{index + 1} of {len(cells)} cells, {time.monotonic() - start:.0f} s"
                console.print(done, highlight=False)
        frames.append(read_block(files.block_path(0)))
    rows = pl.concat(frames, how="diagonal_relaxed")
    return rows[[column.name for column in rows if column.null_count() < len(rows)]]


def write_rows(rows: pl.DataFrame, path: Path) -> None:
    """The rows as one Parquet file, whole or not at all."""
    write_atomically(path, lambda temporary: pq.write_table(rows.to_arrow(), temporary))


def show(title: str, header: list[str], lines: list[list[str]], console: Console) -> None:
    """A table for people."""
    table = Table(title=title, title_justify="left")
    for column in header:
        table.add_column(column, justify="right")
    for line in lines:
        table.add_row(*line)
    console.print(table)


def markdown(title: str, header: list[str], lines: list[list[str]]) -> str:
    """The same table as Markdown."""
    head = "| " + " | ".join(header) + " |"
    rule = "|" + "---:|" * len(header)
    body = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([f"# {title}", "", head, rule, *body, ""])


def figure(rows: int, columns: int, **options: Any) -> tuple[Any, Any]:
    """Axes in the house style, drawn without a display."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    use_style()
    size = (4.8 * columns, 3.8 * rows)
    made: tuple[Any, Any] = plt.subplots(
        rows, columns, figsize=size, layout="constrained", squeeze=False, **options
    )
    return made


def save(drawn: Any, path: Path) -> list[Path]:
    """PNG and PDF beside each other."""
    import matplotlib.pyplot as plt

    written = []
    for suffix in (".png", ".pdf"):
        target = path.with_suffix(suffix)
        save = functools.partial(drawn.savefig, format=suffix[1:], dpi=160)
        write_atomically(target, save)
        written.append(target)
    plt.close(drawn)
    return written


def report(
    name: str,
    title: str,
    header: list[str],
    lines: list[list[str]],
    rows: pl.DataFrame,
    drawn: Mapping[str, Any],
    output: Path,
    console: Console,
) -> None:
    """Table on the terminal and in `summary.md`, rows in `results.parquet`, figures beside them."""
    show(title, header, lines, console)
    write_text(output / "summary.md", markdown(title, header, lines))
    write_rows(rows, output / "results.parquet")
    paths = [output / "results.parquet", output / "summary.md"]
    for figure_name, picture in drawn.items():
        paths += save(picture, output / figure_name)
    for path in paths:
        console.print(f"  {path}", markup=False, highlight=False, soft_wrap=True)
