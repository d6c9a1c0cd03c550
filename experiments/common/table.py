"""One table, written once: for the terminal, as Markdown and as LaTeX."""

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


LATEX = {
    "\\": r"\textbackslash{}", **{c: "\\" + c for c in "&%$#_{}"}, "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "±": r"$\pm$", "∞": r"$\infty$", "–": "--", "π": r"$\pi$", "λ": r"$\lambda$",
    "μ": r"$\mu$", "δ": r"$\delta$", "β": r"$\beta$", "√": r"$\surd$", "−": r"$-$", "≤": r"$\leq$",
    "χ": r"$\chi$",
}  # fmt: skip


def latex(text: str) -> str:
    """Text with what LaTeX would read as a command, or not at all, written out."""
    return "".join(LATEX.get(character, character) for character in text)


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

    def latex(self) -> str:
        """The table in LaTeX with the rules of `booktabs`, its title as caption."""
        shape = "".join("l" if j < self.left else "r" for j in range(len(self.header)))
        body = [
            " & ".join(
                rf"\textbf{{{entry}}}" if (i, j) in self.best else entry
                for j, entry in enumerate(latex(number(value)) for value in row)
            )
            for i, row in enumerate(self.rows)
        ]
        head = " & ".join(latex(name) for name in self.header)
        lines = [rf"{line} \\" for line in body]
        return "\n".join(
            [
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{latex(self.title)}}}",
                rf"\begin{{tabular}}{{{shape}}}",
                r"\toprule",
                rf"{head} \\",
                r"\midrule",
                *lines,
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
                "",
            ]
        )

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
