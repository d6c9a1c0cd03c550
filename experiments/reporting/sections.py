"""A section a folder: answers first, then figures, tables, and how to make them again."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from markdown_it import MarkdownIt
from markdown_it.token import Token

from experiments.common.table import Table
from experiments.reporting.html import (
    bullets,
    csv_link,
    element,
    figure_html,
    image_html,
    table_html,
    wrap,
)
from experiments.reporting.kinds.kind import Source, Told
from experiments.reporting.sources import kind_of


def section(source: Source, number: int) -> str:
    """One folder's part of the page."""
    key = f"part{number}"
    kind = kind_of(source).name.replace("_", " ")
    name = source.name if source.name == source.kind else f"{source.name} ({kind})"
    head = element("h2", name, id=key)
    inner = told_html(kind_of(source).tell(source), key)
    return wrap("section", f"{head}{inner}{_remake(source)}", aria_labelledby=key)


def told_html(told: Told, key: str) -> str:
    """What there is to say, in the order in which it is read."""
    said = element("h3", "Answers") + bullets(told.answers)
    pictures = [figure_html(picture, key) for picture in told.pictures]
    images = [image_html(path, key, _described(path)) for path in told.images]
    tables = [table_html(table) for table in told.tables]
    links = [csv_link(_flat(rows), f"{name}.csv") for name, rows in told.data.items()]
    parts = [wrap("div", said, class_="answers") if told.answers else ""]
    parts += [_headed("Figures", [*pictures, *images])]
    parts += [_headed("Tables", [*tables, _copies(told.tables)] if tables else [])]
    parts += [_headed("Its own report", [_markdown(path) for path in told.reports])]
    return "".join([*parts, *(wrap("p", link) for link in links)])


def _headed(words: str, parts: list[str]) -> str:
    return element("h3", words) + "".join(parts) if parts else ""


def _flat(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows that a CSV can hold."""
    nested = [name for name, kind in rows.schema.items() if kind.is_nested()]
    return rows.drop(nested)


def _copies(tables: list[Table]) -> str:
    """The tables to paste into a paper or a page."""
    told = [
        ("LaTeX", [t.latex() for t in tables]),
        ("Markdown", [t.markdown("**") for t in tables]),
    ]
    return "".join(
        wrap(
            "details", element("summary", f"The tables in {kind}") + element("pre", "\n".join(text))
        )
        for kind, text in told
    )


def _described(path: Path) -> str:
    return f"{path.stem.replace('_', ' ')}, as its program drew it."


def _markdown(path: Path) -> str:
    """A report in Markdown, its headings below those of the page; HTML in it stays text."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(path.read_text(encoding="utf-8"))
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 3, 6)}"
        for child in token.children or []:
            _alone(child)
    drawn = parser.renderer.render(tokens, parser.options, {})
    opened = (
        f'<div class="scroll" tabindex="0" role="region" aria-label="table of {path.stem}"><table>'
    )
    drawn = drawn.replace("<table>", opened).replace("</table>", "</table></div>")
    return str(drawn).replace("<th ", '<th scope="col" ').replace("<th>", '<th scope="col">')


def _alone(token: Token) -> None:
    """Nothing in a report leads out of the page: its pictures are among the figures, links are words."""
    if token.type == "image":
        token.type, token.tag, token.content, token.children = "text", "", "", []
    elif token.type == "link_open":
        token.attrs.pop("href", None)


def _remake(source: Source) -> str:
    """The command that makes the numbers again, and what it ran with."""
    told = source.command or "unknown: its program left no record of its command"
    facts = "; ".join(f"{name} {value}" for name, value in source.facts.items()) or "not recorded"
    return "".join(
        [
            element("h3", "To make these numbers again"),
            element("pre", told),
            element("p", f"Made with: {facts}."),
        ]
    )
