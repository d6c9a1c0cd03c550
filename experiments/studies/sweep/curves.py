"""How the curves of a sweep are drawn on logarithmic axes, with a band for what is too small to draw."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from experiments.common.style import BAND, GREY, NOTE, STYLES, Style, looks
from experiments.studies.sweep.analysis import coverage_varies

OPAQUE = 0.13
HIGHEST, LOWEST = 1e-3, 1e-8  # ends of the floor where nobody chooses one
REFERENCES = ("behaviour_cloning", "uniform")  # what learns nothing from preferences
HEADLINE = ("spac_sqrt_n", "pessimistic_mle", "mle_greedy", "dpo_gradient", "behaviour_cloning")
MOST = 8  # curves of a headline


def floor_of(curves: pl.DataFrame) -> float:
    """Where a log axis may end: the power of ten that four positive means in five are above.

    From 1e-8 to 1e-3: exact zeros, and numbers that differ from zero by an accident of rounding, must not
    choose the scale of all others.
    """
    means = curves["mean"].drop_nulls()
    positive = means.filter(means > 0)
    fifth = positive.quantile(0.2) if len(positive) else None
    if fifth is None:
        return HIGHEST
    return float(min(HIGHEST, max(LOWEST, 10.0 ** math.floor(math.log10(fifth)))))


def lift(values: np.ndarray, floor: float) -> np.ndarray:
    """Everything below the floor to the middle of its band, so that a log axis can show it."""
    return np.where(values >= floor, values, floor / 2)


def floor_band(axes: Axes, first: bool, floor: float) -> None:
    """Mark the band that stands for 0 and all below the floor."""
    axes.axhspan(floor / 4, floor, color=BAND, zorder=0, lw=0)
    axes.set_ylim(bottom=floor / 4)
    if first:
        axes.annotate(
            f"below {floor:g}, or 0",
            (0.03, floor / 2),
            xycoords=("axes fraction", "data"),
            fontsize=7.5,
            color=NOTE,
            va="center",
        )


def curve(axes: Axes, rows: pl.DataFrame, x: str, y: str, look: Style | None, floor: float) -> None:
    """One curve with its interval; without a look it is thin, grey and has none.

    What leads into the band below the floor is dotted and its mark hollow: no number is there.
    """
    at, values = rows[x].to_numpy(), rows[y].to_numpy()
    middle = lift(values, floor)
    if look is None:
        axes.plot(at, middle, color=GREY, lw=0.7, zorder=1)
        return
    _interval(axes, rows, x, y, look, floor)
    common: dict[str, Any] = {"color": look.colour, "zorder": 3 + look.width}
    part: Any = {"label": f"_{look.name}"}  # no entry of a legend, but of the curve of that name
    shown = np.where(values >= floor, values, np.nan)
    axes.plot(
        at, middle, ls="", label=look.name, **common
    )  # what is drawn, whole, for who reads it
    marks: dict[str, Any] = {"marker": look.marker, "ms": 4.5, "mew": 0.5}
    axes.plot(at, shown, ls=look.line, lw=look.width, mec="white", **marks, **common, **part)
    low = values < floor
    beside = low | np.append(low[1:], False) | np.insert(low[:-1], 0, False)
    axes.plot(at, np.where(beside, middle, np.nan), ls=(0, (1, 2)), lw=0.8, **common, **part)
    axes.plot(at[low], middle[low], ls="", mfc="white", mec=look.colour, **marks, **common, **part)


def _interval(axes: Axes, rows: pl.DataFrame, x: str, y: str, look: Style, floor: float) -> None:
    """The band between the ends of the intervals, where they are known."""
    low, high = (rows[f"{y}_{end}"].to_numpy() for end in ("low", "high"))
    known = np.isfinite(low) & np.isfinite(high)
    if known.any():
        ends = lift(low, floor), lift(high, floor)
        look_of: Any = {"color": look.colour, "alpha": OPAQUE, "lw": 0, "zorder": 2}
        look_of["label"] = f"_{look.name}"
        axes.fill_between(rows[x].to_numpy(), *ends, where=known, **look_of)


def draw_curves(
    axes: Axes,
    rows: pl.DataFrame,
    x: str,
    y: str,
    labels: Sequence[str],
    floor: float,
    others: bool = True,
) -> None:
    """The algorithms in `labels` in their colours, and the others, if wanted, in grey."""
    styles = looks(labels)
    for (label,), part in rows.group_by("algorithm", maintain_order=True):
        if others or label in styles:
            curve(axes, part.sort(x), x, y, styles.get(str(label)), floor)


def headline_labels(curves: pl.DataFrame, wanted: Sequence[str] = ()) -> list[str]:
    """What a headline shows: what is wanted of those there; else a handful, with strangers in it.

    A stranger is an algorithm that the project itself does not draw: whoever brings one wants to see it.
    """
    present = curves["algorithm"].unique(maintain_order=True).to_list()
    if wanted:
        return [label for label in wanted if label in present]
    strangers = [label for label in present if label not in STYLES]
    known = [label for label in HEADLINE if label in present] or [
        label for label in present if label in STYLES
    ]
    return [*strangers, *known][:MOST]


# --- the axis of coverage ----------------------------------------------------------------------


def coverage_axis(curves: pl.DataFrame) -> tuple[str, str]:
    """What to put on the axis: single-policy concentrability, or all-policy where that is fixed."""
    if coverage_varies(curves):
        return "concentrability", "concentrability C(π*)"
    return "concentrability_all", "all-policy concentrability sup C(π)"


def finite_places(
    curves: pl.DataFrame, column: str
) -> tuple[pl.DataFrame, tuple[list[float], list[str]]]:
    """The curves with a finite place `at` for every dial; infinity gets a tick of its own."""
    values = np.unique(curves[column].to_numpy())
    finite = values[np.isfinite(values) & (values > 0)]
    top = float(finite.max()) if len(finite) else 1.0
    at = pl.when(pl.col(column).is_infinite()).then(4 * top).otherwise(pl.col(column)).alias("at")
    places = [float(v) if np.isfinite(v) else 4 * top for v in values if v > 0]
    names = [_tick(v) if np.isfinite(v) else "∞" for v in values if v > 0]
    return curves.with_columns(at), _apart(places, names)


def _tick(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _apart(places: list[float], names: list[str]) -> tuple[list[float], list[str]]:
    """Ticks far enough apart to be read: a name is left out where the one before it is too close."""
    if not places:
        return [], []
    room = 0.11 * (math.log(places[-1] / places[0]) or 1.0)
    kept, last = [], -math.inf
    for place, name in zip(places, names, strict=True):
        near = math.log(place) - last < room
        kept.append("" if near else name)
        last = last if near else math.log(place)
    return places, kept


def where(row: Mapping[str, Any], dial: bool) -> str:
    """Coverage of a panel; the dial too where coverage alone does not tell panels apart."""
    share = f"{100 * row['coverage']:.3g} % of the data on π*"
    c = row["concentrability"]
    told = f"dial {row['dial']:g}: {share}" if dial else share
    return f"{told}\nC(π*) = " + ("∞" if np.isinf(c) else f"{c:.3g}")
