"""The figures of a sweep: suboptimality against the number of comparisons and against coverage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.common.figure import make_figure, save
from experiments.common.style import BAND, GREY, NOTE, Style, style
from experiments.studies.sweep.analysis import (
    coverage_varies,
    dials_by_coverage,
    finding,
    growth,
)
from experiments.studies.sweep.cells import Pictures

OPAQUE = 0.13


def write_figures(curves: pl.DataFrame, options: Pictures, output: Path) -> list[Path]:
    """Draw both figures in every format of `options` and return the files written.

    Labels that the sweep lacks are left out.
    """
    present = curves["algorithm"].unique().to_list()
    labels = [label for label in options.algorithms if label in present]
    drawable = curves.filter(pl.col("mean").is_not_null())
    if drawable.is_empty() or not options.formats:
        return []
    figures = {
        "suboptimality_n": against_n(drawable, labels),
        "suboptimality_coverage": against_coverage(drawable, labels, options.n),
    }
    return [
        path
        for name, figure in figures.items()
        for path in save(figure, output / name, options.formats)
    ]


# --- the floor: exact zeros, and numbers too small to matter ----------------------------------

FLOOR = 1e-3


def _lift(values: np.ndarray) -> np.ndarray:
    """Everything below the floor to the middle of its band, so that a log axis can show it."""
    return np.where(values >= FLOOR, values, FLOOR / 2)


def floor_band(axes: Axes, first: bool) -> None:
    """Mark the band that stands for 0 and all below the floor."""
    axes.axhspan(FLOOR / 4, FLOOR, color=BAND, zorder=0, lw=0)
    axes.set_ylim(bottom=FLOOR / 4)
    if first:
        axes.annotate(
            f"below {FLOOR:g}, or 0",
            (0.03, FLOOR / 2),
            xycoords=("axes fraction", "data"),
            fontsize=7.5,
            color=NOTE,
            va="center",
        )


# --- curves ------------------------------------------------------------------------------------


def _curve(axes: Axes, rows: pl.DataFrame, x: str, y: str, look: Style | None) -> None:
    """One curve with its band; without a look it is thin, grey and has no band."""
    at = rows[x].to_numpy()
    middle = _lift(rows[y].to_numpy())
    if look is None:
        axes.plot(at, middle, color=GREY, lw=0.7, zorder=1)
        return
    low, high = (rows[f"{y}_{end}"].to_numpy() for end in ("low", "high"))
    known = np.isfinite(low) & np.isfinite(high)
    if known.any():
        axes.fill_between(
            at,
            _lift(low),
            _lift(high),
            where=known,
            color=look.colour,
            alpha=OPAQUE,
            lw=0,
            zorder=2,
        )
    axes.plot(
        at,
        middle,
        label=look.name,
        color=look.colour,
        ls=look.line,
        lw=look.width,
        marker=look.marker,
        ms=4.5,
        mec="white",
        mew=0.5,
        zorder=3 + look.width,
    )


def draw_curves(axes: Axes, rows: pl.DataFrame, x: str, y: str, labels: Sequence[str]) -> None:
    """Every algorithm of a panel: those in `labels` in colour, the rest grey."""
    for (label,), part in rows.group_by("algorithm", maintain_order=True):
        look = style(str(label), labels.index(label)) if label in labels else None
        _curve(axes, part.sort(x), x, y, look)


def _legend(
    figure: Figure, curves: pl.DataFrame, labels: Sequence[str], extra: list[Line2D]
) -> None:
    """One legend for the whole figure, below it."""
    handles = []
    for position, label in enumerate(labels):
        look = style(label, position)
        handles.append(
            Line2D(
                [],
                [],
                color=look.colour,
                ls=look.line,
                lw=look.width,
                marker=look.marker,
                ms=5,
                mec="white",
                mew=0.5,
                label=look.name,
            )
        )
    rest = [
        style(a).name for a in curves["algorithm"].unique(maintain_order=True) if a not in labels
    ]
    if rest:
        name = (
            "other: " + ", ".join(rest) if len(rest) <= 2 else f"{len(rest)} others, in the table"
        )
        handles.append(Line2D([], [], color=GREY, lw=0.7, label=name))
    columns = max(1, int(figure.get_figwidth() / 2.1))
    figure.legend(
        handles=[*handles, *extra],
        loc="outside lower center",
        ncols=columns,
        handlelength=3.2,
        columnspacing=1.6,
    )


# --- against n ---------------------------------------------------------------------------------


def against_n(curves: pl.DataFrame, labels: Sequence[str]) -> Figure:
    """A column a dial, sparsest first; means above, `(1 − δ)`-quantiles with the bounds below."""
    dials = dials_by_coverage(curves)
    width = (max(2.55 * len(dials), 7) + 0.6) / len(dials)
    figure, grid = make_figure(2, len(dials), (width, 3.3), sharex=True, sharey="row")
    tells_apart = coverage_varies(curves)
    for column, dial in enumerate(dials):
        rows = curves.filter(pl.col("dial") == dial)
        top, bottom = grid[0, column], grid[1, column]
        for axes, y in ((top, "mean"), (bottom, "quantile")):
            axes.set(xscale="log", yscale="log")
            draw_curves(axes, rows, "n", y, labels)
            floor_band(axes, column == 0)
        _bounds(bottom, rows)
        top.set_title(_column_title(rows.row(0, named=True), not tells_apart), fontsize=9)
        bottom.set_xlabel("comparisons n")
    _top(grid[0, 0], curves["mean"], 1.5)
    _top(grid[1, 0], curves["range"], 4)
    grid[0, 0].set_ylabel("mean suboptimality J(π*) − J(π)")
    grid[1, 0].set_ylabel("(1 − δ)-quantile of suboptimality")
    bounds = [
        Line2D([], [], color="black", lw=1.2, label="theorem (T1) at λ*"),
        Line2D([], [], color="black", ls="", marker="x", ms=4.5, label="(T1) of SPAC (λ*, oracle)"),
        Line2D([], [], color="black", lw=0.8, ls=(0, (1, 2)), label="R: above it (T1) is vacuous"),
    ]
    _legend(figure, curves, labels, bounds)
    figure.suptitle(finding(curves, "spac_sqrt_n", ("mle_greedy", "dpo_gradient")), fontsize=10.5)
    return figure


def _top(axes: Axes, values: pl.Series, factor: float) -> None:
    """The upper end of a log axis: a multiple of the largest finite value, if that is above the floor."""
    finite = [v for v in values.drop_nulls() if FLOOR < v < np.inf]
    if finite:
        axes.set_ylim(top=factor * max(finite))


def _column_title(row: Mapping[str, Any], dial: bool) -> str:
    """Coverage of a panel; the dial too where coverage alone does not tell panels apart."""
    share = f"{100 * row['coverage']:.3g} % of the data on π*"
    c = row["concentrability"]
    where = f"dial {row['dial']:g}: {share}" if dial else share
    return f"{where}\nC(π*) = " + ("∞" if np.isinf(c) else f"{c:.3g}")


def _bounds(axes: Axes, rows: pl.DataFrame) -> None:
    """The theorem's bound at `λ*`, that of SPAC with `λ*` at its own gap, and the range `R`."""
    star = rows.select("n", "bound_star").drop_nulls().unique().sort("n")
    axes.plot(star["n"], star["bound_star"], color="black", lw=1.2, zorder=2)
    if rows["range"][0] is not None:
        axes.axhline(rows["range"][0], color="black", lw=0.8, ls=(0, (1, 2)), zorder=1)
    own = rows.filter((pl.col("algorithm") == "spac_oracle") & pl.col("bound").is_not_null())
    axes.plot(own["n"], own["bound"], color="black", ls="", marker="x", ms=4.5, zorder=2)


# --- against coverage --------------------------------------------------------------------------


def against_coverage(curves: pl.DataFrame, labels: Sequence[str], sizes: Sequence[int]) -> Figure:
    """Mean suboptimality against concentrability, a panel a sample size."""
    known = curves["n"].unique().sort().to_numpy()
    nearest: Callable[[int], int] = lambda n: int(known[np.abs(np.log(known / n)).argmin()])  # noqa: E731
    panels = sorted({nearest(int(n)) for n in sizes})
    column, words = coverage_axis(curves)
    width = max(3.3 * len(panels), 7) / len(panels)
    figure, grid = make_figure(1, len(panels), (width, 4.3), sharex=True, sharey=True)
    places, ticks = finite_places(curves, column)
    for axes, n in zip(grid[0], panels, strict=True):
        rows = places.filter(pl.col("n") == n)
        axes.set(xscale="log", yscale="log", title=f"n = {n:,}", xlabel=words)
        draw_curves(axes, rows, "at", "mean", labels)
        floor_band(axes, n == panels[0])
        if ticks:
            axes.set_xticks(ticks[0], ticks[1])
            axes.minorticks_off()
    grid[0, 0].set_ylabel("mean suboptimality J(π*) − J(π)")
    _legend(figure, curves, labels, [])
    figure.suptitle(growth(curves, "spac_sqrt_n", panels), fontsize=10.5)
    return figure


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
    ticks = [float(v) if np.isfinite(v) else 4 * top for v in values if v > 0]
    names = [f"{v:.3g}" if np.isfinite(v) else "∞" for v in values if v > 0]
    return curves.with_columns(at), (ticks, names)
