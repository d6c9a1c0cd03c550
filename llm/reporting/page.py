"""One report, three ways to show it: the terminal, a Markdown page, an HTML page of one file."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm.reporting.exchanges import Answer, Exchange

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .7rem;border-bottom:1px solid #ddd}
td{text-align:right;white-space:nowrap}td:first-child,th:first-child{text-align:left}
.words td{text-align:left;white-space:pre-wrap;vertical-align:top}img{max-width:100%}
.note,figcaption{color:#555}
"""


@dataclass(frozen=True)
class Picture:
    """A figure beside the page, and what it shows."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Report:
    """Everything a run on held-out rows has to say."""

    title: str
    notes: Sequence[str]
    grid: Sequence[Sequence[str]]
    legend: str
    pictures: Sequence[Picture]
    exchanges: Sequence[Exchange]
    training: Sequence[Sequence[str]] = ()
    training_legend: str = ""


def _author(answer: Answer) -> str:
    return answer.author if answer.reward is None else f"{answer.author} ({answer.reward:+.2f})"


def terminal(report: Report, shown: int = 3) -> Any:
    """The table, the notes and the first exchanges as rich renderables."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = [rich_grid(report.grid, report.title), Text(report.legend, style="dim")]
    if report.training:
        parts += [rich_grid(report.training), Text(report.training_legend, style="dim")]
    parts += [Text(note) for note in report.notes]
    for exchange in report.exchanges[:shown]:
        words = Table(title=exchange.prompt, title_justify="left", show_header=False, expand=True)
        words.add_column(no_wrap=True)
        words.add_column(ratio=1)
        for answer in exchange.answers:
            words.add_row(_author(answer), Text(answer.text.strip()))
        parts.append(words)
    return Group(*parts)


def rich_grid(grid: Sequence[Sequence[str]], title: str | None = None) -> Any:
    """Header and lines as a table for the terminal."""
    from rich.table import Table

    header, *lines = grid
    numbers = Table(title=title)
    for place, name in enumerate(header):
        numbers.add_column(name, justify="right" if place else "left", no_wrap=not place)
    for line in lines:
        numbers.add_row(*line)
    return numbers


def markdown(report: Report) -> str:
    """The page as Markdown; figures are named relative to it."""
    text = [f"# {report.title}", *report.notes, _grid(report.grid), report.legend]
    if report.training:
        text += [_grid(report.training), report.training_legend]
    text += [f"![{p.caption}]({p.path.name})" for p in report.pictures]
    if report.exchanges:
        text.append("## Answers side by side")
    for exchange in report.exchanges:
        text.append(f"**{_flat(exchange.prompt)}**")
        table = [["", ""], ["---", "---"]]
        table += [[_author(a), _flat(a.text)] for a in exchange.answers]
        text.append("\n".join(map(_line, table)))
    return "\n\n".join(text) + "\n"


def _grid(grid: Sequence[Sequence[str]]) -> str:
    """Header and lines in Markdown."""
    header, *lines = grid
    rows = [list(header), ["---"] + ["---:"] * (len(header) - 1), *map(list, lines)]
    return "\n".join(map(_line, rows))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _flat(text: str) -> str:
    """Text that stays in its cell."""
    words = " ".join(text.split())
    return html.escape(words, quote=False).replace("|", "\\|").replace("*", "\\*")


def page(report: Report) -> str:
    """The page as one HTML file, figures inside."""
    body = [f"<h1>{html.escape(report.title)}</h1>"]
    body += [f"<p>{html.escape(note)}</p>" for note in report.notes]
    body.append(_table(report.grid, report.legend))
    if report.training:
        body.append(_table(report.training, report.training_legend))
    body += [_figure(picture) for picture in report.pictures]
    if report.exchanges:
        body.append("<h2>Answers side by side</h2>")
    for exchange in report.exchanges:
        body.append(f"<h3>{html.escape(exchange.prompt)}</h3><table class=words>")
        body += [_row([_author(a), a.text.strip()], "td") for a in exchange.answers]
        body.append("</table>")
    title = html.escape(report.title)
    head = f"<!doctype html><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"
    return head + "\n".join(body) + "\n"


def _table(grid: Sequence[Sequence[str]], legend: str) -> str:
    """Header and lines in HTML, and what they mean."""
    header, *lines = grid
    rows = _row(header, "th") + "".join(_row(line, "td") for line in lines)
    return f"<table>{rows}</table><p class=note>{html.escape(legend)}</p>"


def _row(cells: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.path.read_bytes()).decode()
    words = html.escape(picture.caption)
    return (
        f'<figure><img alt="{words}" src="data:image/png;base64,{data}">'
        f"<figcaption>{words}</figcaption></figure>"
    )
