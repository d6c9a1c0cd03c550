"""One table, written once: for the terminal and as Markdown."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import rich.table
from rich.console import Console
from rich.text import Text

WIDTH = 140  # characters of a line where there is no screen


def make_console() -> Console:
    """The terminal as it is; a file gets lines wide enough for the tables."""
    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=WIDTH)


def number(value: Any) -> str:
    """An entry of a table: three digits, `–` for nothing, ∞ for infinity; words as they are."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return "∞" if math.isinf(value) else f"{value:.3g}"
    return str(value)


def plus_minus(mean: float, half_width: float, digits: int = 4) -> str:
    """`mean ± half-width`, the mean alone where no interval is honest."""
    shown = f"{mean:.{digits}f}"
    return f"{shown} ± {half_width:.{digits}f}" if math.isfinite(half_width) else shown


@dataclass(frozen=True)
class Table:
    """A title, a header and rows; entries go through :func:`number`.

    `best` holds the `(row, column)` of entries to stress; the first `left` columns are words.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    best: frozenset[tuple[int, int]] = frozenset()
    left: int = 1

    def markdown(self, heading: str = "# ") -> str:
        """The table in Markdown under its title; `heading` may be `"**"` for bold."""
        rule = ["---" if i < self.left else "---:" for i in range(len(self.header))]
        lines = [self.header, rule, *(self._stressed(i) for i in range(len(self.rows)))]
        body = [f"| {' | '.join(line)} |" for line in lines]
        title = f"**{self.title}**" if heading == "**" else f"{heading}{self.title}"
        return "\n".join([title, "", *body, ""] if self.title else [*body, ""])

    def _stressed(self, i: int) -> list[str]:
        """Row `i` in Markdown; a bar inside an entry is escaped."""
        entries = [number(value).replace("|", r"\|") for value in self.rows[i]]
        return [f"**{e}**" if (i, j) in self.best else e for j, e in enumerate(entries)]

    def show(self, console: Console) -> None:
        """Print the table; entries are text, never markup."""
        if self.title:
            console.print(self.title, markup=False, highlight=False, style="bold")
        table = rich.table.Table()
        for j, name in enumerate(self.header):
            table.add_column(Text(name), justify="left" if j < self.left else "right")
        for i, row in enumerate(self.rows):
            table.add_row(*(self._text(i, j, value) for j, value in enumerate(row)))
        console.print(table)

    def _text(self, i: int, j: int, value: Any) -> Text:
        return Text(number(value), style="bold green" if (i, j) in self.best else "")


def show_paths(paths: Sequence[Any], console: Console) -> None:
    """The files that were written, a line each."""
    for path in paths:
        console.print(f"  {path}", markup=False, highlight=False, soft_wrap=True)
