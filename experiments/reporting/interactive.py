"""A drawn figure as interactive panels: the same points, colours and words, for Plotly to show.

One drawing serves paper and page. Each axes becomes a panel of its own, so that a narrow screen can put
them one below the other. A named curve is shown and hidden with all that belongs to it: what has its name
behind an underscore as label, or else its colour, if no other named curve has that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from textwrap import wrap
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.collections import Collection, LineCollection
from matplotlib.colors import to_hex, to_rgba
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Annotation
from matplotlib.ticker import FixedLocator, NullFormatter
from numpy.typing import NDArray

from experiments.common.style import BAND, BLACK, GREY, MIDDLE, NOTE

Panel = dict[str, Any]
Points = NDArray[np.float64]
INKS = {
    BLACK: "ink",
    NOTE: "soft",
    BAND: "band",
    "#ffffff": "paper",
    "#333333": "ink",
}  # the page's own
QUIET = (GREY.lower(), MIDDLE.lower())
SYMBOLS = {
    "o": "circle", "s": "square", "^": "triangle-up", "v": "triangle-down", "D": "diamond", "P": "cross",
    "X": "x", "*": "star", "p": "pentagon", "h": "hexagon", "8": "octagon", ">": "triangle-right",
    "_": "line-ew", "|": "line-ns",
}  # fmt: skip
GLYPHS = {"o": "●○", "s": "■□", "^": "▲△", "*": "★☆", "_": "––"}
DASHES = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}


def panels(figures: Sequence[Figure], floor: float = 0.0) -> list[Panel]:
    """A panel a visible axes with something in it: `data` and `layout` of Plotly, its `title` and `height`.

    A value below `floor` is told as such: where it is drawn says nothing of it.
    """
    for figure in figures:
        figure.draw_without_rendering()  # places words and ticks
    every = [axes for figure in figures for axes in figure.axes]
    return [_panel(axes, floor) for axes in every if axes.get_visible() and axes.has_data()]


def _panel(axes: Axes, floor: float) -> Panel:
    names = Names.of(axes)
    marks = [
        trace for artist in axes.get_children() for trace in _traces(artist, axes, names, floor)
    ]
    marks.sort(key=lambda trace: trace.pop("order"))
    layout = {
        "xaxis": _axis(axes, "x"),
        "yaxis": _axis(axes, "y"),
        "annotations": [note for text in axes.texts if (note := _note(text, axes))],
    }
    title = " ".join(axes.get_title().split())
    height = axes.get_window_extent().height / axes.figure.dpi  # inches
    return {"data": marks, "layout": layout, "title": title, "height": round(height * 100)}


def points(parts: Sequence[Panel]) -> pl.DataFrame:
    """Every point of every curve and mark of some panels: `panel`, `curve`, `x`, `y`."""
    rows = [
        (part["title"], trace["name"], x, y)
        for part in parts
        for trace in part["data"]
        if trace.get("hoverinfo") != "skip"
        for x, y in zip(trace["x"], trace["y"], strict=True)
    ]
    return pl.DataFrame(
        rows, schema=["panel", "curve", "x", "y"], orient="row", infer_schema_length=None
    )


def curves(figures: Sequence[Figure]) -> dict[str, str]:
    """Name and colour of every named curve in the order of drawing."""
    every = [line for figure in figures for axes in figure.axes for line in axes.lines]
    found: dict[str, str] = {}
    for line in (line for line in every if _named(line) and len(line.get_xdata())):  # type: ignore[arg-type]
        found.setdefault(_words(str(line.get_label())), _ink(line.get_color()))
    return found


def keys(figures: Sequence[Figure]) -> list[str]:
    """What marks mean that are no curve's, from the legends: `● mean`."""
    legends = [axes.get_legend() for figure in figures for axes in figure.axes]
    legends += [legend for figure in figures for legend in figure.legends]
    curved, found = curves(figures), list[str]()
    for legend in filter(None, legends):
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True):
            if isinstance(handle, Line2D) and text.get_text() not in curved:
                found += _glyph(handle, text.get_text())
    return list(dict.fromkeys(found))


def _glyph(mark: Line2D, words: str) -> list[str]:
    glyph = GLYPHS.get(str(mark.get_marker()))
    alone = str(mark.get_linestyle()) == "None"
    return [f"{glyph[_hollow(mark.get_markerfacecolor())]} {words}"] if glyph and alone else []


def _named(line: Line2D) -> bool:
    return not str(line.get_label()).startswith("_")


@dataclass(frozen=True)
class Names:
    """The curves of an axes: their names, and the colours that one of them has alone."""

    names: frozenset[str]
    colours: dict[str, str]

    @classmethod
    def of(cls, axes: Axes) -> Names:
        """Read off the labels."""
        named = [
            (to_hex(line.get_color()), _words(str(line.get_label())))
            for line in axes.lines
            if _named(line)
        ]
        colours = [colour for colour, _ in named]
        alone = {colour: name for colour, name in named if colours.count(colour) == 1}
        return cls(frozenset(name for _, name in named), alone)

    def owner(self, label: object, colour: Any) -> str:
        """The curve that an artist belongs to; `""` for none."""
        word = _words(str(label))
        if word in self.names or word[1:] in self.names:
            return word if word in self.names else word[1:]
        return self.colours.get(to_hex(colour), "")


def _words(text: str) -> str:
    return text.replace(r"\$", "$")


def _shown(text: str) -> str:
    """Text that Plotly shows as it is."""
    return escape(_words(text), quote=False)


def _ink(colour: Any) -> str:
    """A colour, or the name of the page's own where it depends on light and dark."""
    found = to_hex(colour)
    return INKS.get(found, INKS.get(found.upper(), found))


# --- marks -------------------------------------------------------------------------------------


def _traces(artist: Any, axes: Axes, names: Names, floor: float) -> list[dict[str, Any]]:
    if not artist.get_visible():
        return []
    if isinstance(artist, Line2D):
        return _line(artist, axes, names, floor)
    if isinstance(artist, LineCollection):
        return [_bars(artist, names)] if len(artist.get_segments()) else []
    if isinstance(artist, Collection):
        return _area(artist, artist.get_paths(), axes, names)
    if isinstance(artist, Patch) and artist is not axes.patch and artist in axes.patches:
        return _area(
            artist, [artist.get_path().transformed(artist.get_patch_transform())], axes, names
        )
    return []


def _line(line: Line2D, axes: Axes, names: Names, floor: float) -> list[dict[str, Any]]:
    given = np.column_stack([np.asarray(values, dtype=float) for values in line.get_data()])
    if _is_cap(line, axes) or not len(given):
        return []
    x, y = _data(given, line, axes).T
    name = names.owner(line.get_label(), line.get_color())
    trace = {
        **_look(line),
        "name": name,
        "order": line.get_zorder(),
        "x": _listed(x),
        "y": _listed(y),
    }
    if _named(line) or not name:
        trace["hovertemplate"] = _hover(name, y, floor)
    else:
        trace["hoverinfo"] = "skip"
    return [trace]


def _is_cap(line: Line2D, axes: Axes) -> bool:
    """Whether a line is the end of error bars."""
    bars = [c for c in axes.containers if isinstance(c, ErrorbarContainer)]
    return any(line is cap for each in bars for cap in each[1])


def _look(line: Line2D) -> dict[str, Any]:
    """Colour, dashes and marks; what has neither line nor mark is there to be pointed at."""
    dash, symbol = DASHES.get(str(line.get_linestyle())), SYMBOLS.get(str(line.get_marker()))
    mode = "+".join(word for word, there in (("lines", dash), ("markers", symbol)) if there)
    colour, size = _ink(line.get_color()), round(1.5 * line.get_markersize(), 1)
    flat = str(line.get_marker()) in ("_", "|")
    filled = "-open" if flat or _hollow(line.get_markerfacecolor()) else ""
    edge = {"line": {"width": 1.5, "color": colour}} if filled else {}
    return {
        "type": "scatter", "mode": mode or "markers", "opacity": 1.0 if mode else 0.0,
        "line": {"color": colour, "width": round(1.2 * line.get_linewidth(), 2), "dash": dash},
        "marker": {"color": colour, "size": size, "symbol": symbol and symbol + filled, **edge},
    }  # fmt: skip


def _hover(name: str, y: Points, floor: float) -> str | list[str]:
    """What a point says: its curve, its height and its place."""
    head = f"{_shown(name)}: " if name else ""
    usual = f"{head}%{{y:.4g}} at %{{x:.6g}}<extra></extra>"
    low = f"{head}below {floor:g}, or 0, at %{{x:.6g}}<extra></extra>"
    return [low if height < floor else usual for height in y] if (y < floor).any() else usual


def _hollow(face: Any) -> bool:
    return str(face) == "none" or to_rgba(face)[3] == 0 or to_hex(face) == "#ffffff"


def _bars(bars: LineCollection, names: Names) -> dict[str, Any]:
    """Error bars and other loose lines: one trace with gaps."""
    colour = to_hex(np.atleast_2d(np.asarray(bars.get_color()))[0])
    ends = [
        point for part in bars.get_segments() for point in (*np.asarray(part), (np.nan, np.nan))
    ]
    x, y = np.asarray(ends, dtype=float).T
    look = {"color": _ink(colour), "width": 1.2}
    return _plain(names.owner(bars.get_label(), colour), x, y, bars.get_zorder(), line=look)


def _area(artist: Any, paths: Any, axes: Axes, names: Names) -> list[dict[str, Any]]:
    """Filled areas, such as an interval around a curve, or a band over the whole width."""
    face = np.atleast_2d(artist.get_facecolor())[0]
    found = []
    for path in paths:
        for polygon in path.to_polygons():
            x, y = _data(np.asarray(polygon, dtype=float), artist, axes).T
            fill = (
                _ink(face)
                if face[3] == 1
                else f"rgba({','.join(f'{255 * c:.0f}' for c in face[:3])},{face[3]:.2f})"
            )
            more = {"fill": "toself", "fillcolor": fill, "line": {"width": 0}}
            found.append(
                _plain(names.owner(artist.get_label(), face), x, y, artist.get_zorder(), **more)
            )
    return found


def _plain(name: str, x: Points, y: Points, order: float, **more: Any) -> dict[str, Any]:
    where = {"x": _listed(x), "y": _listed(y), "order": order}
    return {"type": "scatter", "mode": "lines", "name": name, "hoverinfo": "skip", **where, **more}


def _data(points: Points, artist: Any, axes: Axes) -> Points:
    """Points in the units of the axes, whatever they were given in; none at infinity."""
    transform = artist.get_transform()
    if isinstance(artist, Patch):
        transform = artist.get_data_transform()
    if transform == axes.transData or not len(points):
        return points
    with np.errstate(all="ignore"):
        found: Points = (transform - axes.transData).transform(points)
    return found


def _listed(values: Points) -> list[float | None]:
    return [float(f"{v:.7g}") if np.isfinite(v) else None for v in values.tolist()]


# --- axes and words ----------------------------------------------------------------------------


def _axis(axes: Axes, which: str) -> dict[str, Any]:
    axis = axes.xaxis if which == "x" else axes.yaxis
    logarithmic = axis.get_scale() == "log"
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    ends = [float(low), float(high)]
    found: dict[str, Any] = {
        "type": "log" if logarithmic else "linear",
        "range": [float(np.log10(end)) for end in ends] if logarithmic else ends,
        "title": {"text": "<br>".join(wrap(_shown(axis.get_label_text()), 40))},
    }
    if isinstance(axis.get_major_locator(), FixedLocator):
        found["tickvals"] = [float(place) for place in axis.get_majorticklocs()]
        words = axis.get_major_formatter().format_ticks(found["tickvals"])
        found["ticktext"] = ["<br>".join(wrap(_shown(str(word)), 24)) for word in words]
    elif isinstance(axis.get_major_formatter(), NullFormatter):
        found["showticklabels"] = False
    return found


def _note(text: Any, axes: Axes) -> dict[str, Any] | None:
    """A word in the panel, where it stands; names with leaders at the ends of curves are the legend's."""
    if not text.get_text() or (isinstance(text, Annotation) and text.arrow_patch is not None):
        return None
    box = text.get_window_extent().transformed(axes.transAxes.inverted())
    x, y = box.x0, (box.y0 + box.y1) / 2
    if not (0 <= x <= 1 and 0 <= y <= 1):
        return None
    return {
        "text": _shown(text.get_text()), "x": round(x, 3), "y": round(y, 3),
        "xref": "x domain", "yref": "y domain", "showarrow": False, "xanchor": "left",
        "textangle": -text.get_rotation(),
        "font": {"size": 11, "color": _ink(text.get_color())},
    }  # fmt: skip
