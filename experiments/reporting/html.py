"""Pieces of the page: tables, figures, downloads. Everything that comes from a file is escaped."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import polars as pl
from plotly.offline import get_plotlyjs

from experiments.common.table import Table, number
from experiments.reporting.interactive import curves, keys, panels, points
from experiments.reporting.kinds.kind import Picture

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


def figure_html(picture: Picture, key: str) -> str:
    """A figure: a box a curve to show and hide it, its panels for the page's script, caption, data."""
    name = f"{key}-{picture.name}"
    parts = panels(picture.figures, picture.floor)
    boxes = [_box(word, colour, picture.shown) for word, colour in curves(picture.figures).items()]
    pick = wrap("fieldset", element("legend", "Curves") + "".join(boxes)) if boxes[1:] else ""
    drawn = "".join(_panel_html(part, f"{name}-{i}", len(parts)) for i, part in enumerate(parts))
    data = csv_link(points(parts) if picture.data is None else picture.data, f"{name}.csv")
    words = f"{picture.words} {'; '.join(keys(picture.figures))}".strip()
    caption = wrap("figcaption", f"{escape(words)} {data}", id=f"{name}-caption")
    wide = f"--wide:{30 if len(parts) in (2, 4) else 20}rem"
    told = json.dumps([[part["data"], part["layout"]] for part in parts], ensure_ascii=False)
    held = wrap("script", told.replace("<", "\\u003c"), type="application/json")
    inner = f"{pick}{wrap('div', drawn, class_='panels', style=wide)}{held}{caption}"
    return wrap("figure", inner, id=name, class_="drawn", aria_labelledby=f"{name}-caption")


def _box(word: str, colour: str, shown: frozenset[str] | None) -> str:
    """A box that shows and hides a curve, with its colour beside it."""
    checked = {} if shown is not None and word not in shown else {"checked": ""}
    box = wrap("input", "", type="checkbox", value=word, **checked).removesuffix("</input>")
    look = "background:" + (f"var(--{colour})" if colour.isalpha() else colour)
    return wrap("label", f"{box}{wrap('span', '', class_='swatch', style=look)}{escape(word)}")


def _panel_html(part: dict[str, Any], name: str, count: int) -> str:
    """A panel under its title, which is its name to a reader of screens; narrow ones share a line."""
    title = part["title"] or "curves"
    head = element("h4", part["title"], id=f"{name}-title") if part["title"] and count > 1 else ""
    height = f"height:{max(300, min(part['height'], 900))}px"
    panel = wrap("div", "", class_="panel", role="img", aria_label=title, id=name, style=height)
    return wrap("div", f"{head}{panel}")


def image_html(path: Path, key: str, words: str) -> str:
    """A picture that a program drew, as it is."""
    data = base64.b64encode(path.read_bytes()).decode()
    image = f'<img alt="{escape(words)}" src="data:image/png;base64,{data}">'
    return wrap("figure", image + element("figcaption", words), id=f"{key}-{path.stem}")


def page(title: str, body: str) -> str:
    """The whole file; the library that draws is in it, so that it needs no network."""
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    library = f"<script>{get_plotlyjs()}</script>" if 'class="drawn"' in body else ""
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark">{element("title", title)}<style>{style}</style>'
    )
    skip = '<a class="skip" href="#main">Skip to the answers</a>'
    bare = "<noscript>Without scripts the curves are not drawn; tables and data are all here.</noscript>"
    inner = f"{skip}{bare}{body}{library}<script>{script}</script>"
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{inner}</body></html>\n'
