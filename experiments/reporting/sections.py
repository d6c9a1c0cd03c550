"""A section a folder: answers first, then figures, tables, and how to make them again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import polars as pl
from markdown_it import MarkdownIt
from matplotlib.figure import Figure

from experiments.common.table import Table
from experiments.reporting.answers import answers, moves_table, rows_say
from experiments.reporting.html import (
    INK,
    bullets,
    csv_link,
    element,
    figure_html,
    picture_html,
    svg,
    table_html,
    wrap,
)
from experiments.reporting.sources import Source
from experiments.results import caption, curves, plot, table
from experiments.results.axes import at_dial, at_size
from experiments.studies.sweep.analysis import dials_by_coverage, shown_dials

SCREEN: Any = {
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK,
    "ytick.color": INK,
}  # fmt: skip


def section(source: Source, number: int) -> str:
    """One folder's part of the page."""
    key = f"part{number}"
    build = {"sweep": _sweep, "league": _told, "study": _told}[source.kind]
    name = source.name if source.name == source.kind else f"{source.name} ({source.kind})"
    head = element("h2", name, id=key)
    return wrap("section", f"{head}{build(source, key)}{_remake(source)}", aria_labelledby=key)


# --- a sweep -----------------------------------------------------------------------------------


def _sweep(source: Source, key: str) -> str:
    lines = curves(source.rows)
    said = wrap("div", element("h3", "Answers") + bullets(answers(lines)), class_="answers")
    tables = [table(lines, dial) for dial in dials_by_coverage(lines)]
    return "".join(
        [
            said,
            element("h3", "Figures"),
            *_figures(lines, key),
            element("h3", "Tables"),
            table_html(moves_table(lines)),
            *(table_html(one) for one in tables),
            csv_link(lines, f"{source.name}_curves.csv"),
            _copies(tables),
        ]
    )


def _figures(lines: pl.DataFrame, key: str) -> list[str]:
    """The headline at the sparse dial and a well-covered one, then against coverage."""
    drawable = lines.filter(pl.col("mean").is_not_null())
    if drawable.is_empty():
        return [element("p", "No fit is done, so there is nothing to draw.")]
    found = [
        _figure(f"{key}-n-{i}", drawable, at_dial(drawable, dial), dial=dial)
        for i, dial in enumerate(shown_dials(drawable))
    ]
    at = at_size(drawable, None)
    return [*found, _figure(f"{key}-coverage", drawable, at, x="coverage")]


def _figure(name: str, lines: pl.DataFrame, shown: pl.DataFrame, **options: Any) -> str:
    with matplotlib.rc_context():
        matplotlib.rcParams.update(SCREEN)
        figure = plot(lines, width="two", **options).figure
        assert isinstance(figure, Figure)
        picture = svg(figure, name)
    data = csv_link(shown, f"{name}.csv")
    return figure_html(name, picture, caption(lines, **options), data)


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


# --- a league, a study: what their own programs said -------------------------------------------


def _told(source: Source, key: str) -> str:
    """Counts first, then the report that its program wrote, its pictures, and its rows."""
    said = wrap("div", element("h3", "Answers") + bullets(rows_say(source.rows)), class_="answers")
    words = "".join(_markdown(path) for path in source.summaries())
    rows = csv_link(source.rows, f"{source.name}_rows.csv")
    pictures = "".join(
        figure_html(f"{key}-{path.stem}", picture_html(path, path.stem), _described(path), "")
        for path in source.pictures()
    )
    return f"{said}{words or element('p', 'Its program wrote no report in words.')}{pictures}{rows}"


def _described(path: Path) -> str:
    return f"{path.stem.replace('_', ' ')}, as its program drew it."


def _markdown(path: Path) -> str:
    """A report in Markdown, its headings below those of the page; HTML in it stays text."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(path.read_text(encoding="utf-8"))
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
    drawn = parser.renderer.render(tokens, parser.options, {})
    opened = (
        f'<div class="scroll" tabindex="0" role="region" aria-label="table of {path.stem}"><table>'
    )
    drawn = drawn.replace("<table>", opened).replace("</table>", "</table></div>")
    return str(drawn).replace("<th ", '<th scope="col" ').replace("<th>", '<th scope="col">')


# --- to make it again --------------------------------------------------------------------------


def _remake(source: Source) -> str:
    told = source.command or "unknown: its program left no record of its command"
    facts = "; ".join(f"{name} {value}" for name, value in source.facts.items()) or "not recorded"
    return "".join(
        [
            element("h3", "To make these numbers again"),
            element("pre", told),
            element("p", f"Made with: {facts}."),
        ]
    )
