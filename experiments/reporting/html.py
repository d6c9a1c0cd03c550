"""Pieces of the page: tables, figures, downloads. Everything that comes from a file is escaped."""

from __future__ import annotations

import base64
import gzip
import io
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

import matplotlib
import polars as pl
from matplotlib.figure import Figure

from experiments.common.style import BAND, BLACK, NOTE, RC
from experiments.common.table import Table, number

INK, GRID = "#010203", RC["grid.color"]  # stand-ins in a drawing for the page's own ink and grid
PAGE = {
    INK: "currentColor", BLACK: "currentColor", GRID: "var(--line)", BAND: "var(--band)",
    NOTE: "var(--soft)", "#ffffff": "var(--paper)",
}  # fmt: skip
MANY = 2000  # rows of a CSV that is carried as it is
HERE = Path(__file__).parent


def element(name: str, text: object, **attributes: str) -> str:
    """An element with escaped text."""
    return wrap(name, escape(str(text)), **attributes)


def wrap(name: str, inner: str, **attributes: str) -> str:
    """An element around HTML; `class_` stands for `class`, `_` inside a name for `-`."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
    )
    return f"<{name}{given}>{inner}</{name}>"


def bullets(sentences: Sequence[str]) -> str:
    """A list of sentences."""
    return wrap("ul", "".join(element("li", sentence) for sentence in sentences))


def download(data: bytes, kind: str, name: str, words: str) -> str:
    """A link that saves `data`, which it carries itself."""
    address = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    return element("a", words, href=address, download=name, class_="download")


def csv_link(rows: pl.DataFrame, name: str) -> str:
    """The rows behind a figure or table as a file to save; many rows are compressed."""
    data, kind = rows.write_csv().encode(), "text/csv"
    if rows.height > MANY:
        data, kind, name = gzip.compress(data, mtime=0), "application/gzip", f"{name}.gz"
    return download(data, kind, name, f"Data: {name} ({rows.height:,} rows)")


def table_html(table: Table) -> str:
    """A table that the page's script makes sortable; what is to be stressed is strong."""
    head = "".join(element("th", name, scope="col") for name in table.header)
    body = "".join(wrap("tr", _cells(table, i)) for i in range(len(table.rows)))
    caption = wrap("caption", element("span", table.title)) if table.title else ""
    inner = f"{caption}{wrap('thead', wrap('tr', head))}{wrap('tbody', body)}"
    title = table.title or "table"
    return wrap(
        "div", wrap("table", inner), class_="scroll", tabindex="0", role="region", aria_label=title
    )


def _cells(table: Table, i: int) -> str:
    entries = [
        element("strong", number(value)) if (i, j) in table.best else escape(number(value))
        for j, value in enumerate(table.rows[i])
    ]
    name, *rest = entries
    left = [j < table.left for j in range(1, len(entries))]
    cells = (
        wrap("td", e, **({"class_": "words"} if w else {})) for e, w in zip(rest, left, strict=True)
    )
    return wrap("th", name, scope="row") + "".join(cells)


def svg(figure: Figure, name: str) -> str:
    """A figure inline: words stay words, curves carry the label as class, ids are this figure's alone."""
    for axes in figure.axes:
        axes.patch.set_visible(False)
        named = [line for line in axes.lines if not str(line.get_label()).startswith("_")]
        names = {line.get_color(): str(line.get_label()) for line in named}
        for line in axes.lines:
            if line.get_color() in names:
                line.set_gid(f"curve {names[line.get_color()]}")
        for line in named:
            line.set_gid(f"curve {line.get_label()}")
    figure.patch.set_visible(False)
    sink = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(sink, format="svg", metadata={"Date": None})
    return _inline(sink.getvalue(), name)


def _inline(text: str, name: str) -> str:
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'\s(?:xmlns(?::\w+)?|version)="[^"]*"', "", text)
    text = re.sub(r'\sid="curve ([^"]*)"', r' class="curve" data-curve="\1"', text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = text.replace("url(#", f"url(#{name}-")
    for fixed, own in PAGE.items():
        text = text.replace(fixed.lower(), own)
    return text.replace("<svg ", f'<svg role="img" aria-labelledby="{name}-caption" ', 1)


def figure_html(name: str, picture: str, words: str, data: str) -> str:
    """A figure with its caption and its data."""
    caption = wrap("figcaption", f"{escape(words)} {data}", id=f"{name}-caption")
    return wrap(
        "figure",
        wrap("div", picture, class_="scroll", tabindex="0", role="region", aria_label=name)
        + caption,
        id=name,
    )


def picture_html(path: Path, words: str) -> str:
    """A picture that a program drew, as it is."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{escape(words)}" src="data:image/png;base64,{data}">'


def page(title: str, body: str) -> str:
    """The whole file."""
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark">{element("title", title)}<style>{style}</style>'
    )
    skip = '<a class="skip" href="#main">Skip to the answers</a>'
    inner = f"{skip}{body}<script>{script}</script>"
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{inner}</body></html>\n'
