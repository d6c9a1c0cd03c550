"""The rest of a sweep in small multiples: every algorithm, the bounds, and suboptimality against coverage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.common.direct import name_curves
from experiments.common.figure import make_figure
from experiments.common.style import BLACK, MARKERS, looks, title
from experiments.studies.sweep.analysis import TO, coverage_varies, dials_by_coverage, growth
from experiments.studies.sweep.curves import (
    coverage_axis,
    draw_curves,
    finite_places,
    floor_band,
    headline_labels,
    lift,
    where,
)

ACROSS = 4  # panels in a row
Y = {"mean": "mean suboptimality", "quantile": "(1 − δ)-quantile of suboptimality"}


def every_algorithm(curves: pl.DataFrame, floor: float) -> Figure:
    """A panel an algorithm, a curve a coverage, darker where the data cover `π*` less."""
    labels = curves["algorithm"].unique(maintain_order=True).to_list()
    dials = dials_by_coverage(curves)
    shades = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.85, len(dials)))
    across = min(ACROSS, len(labels))
    figure, grid = make_figure(
        -(-len(labels) // across), across, (2.75, 2.1), sharex=True, sharey=True
    )
    for axes, label in zip(grid.flat, labels, strict=False):
        for index, dial in enumerate(dials):
            rows = curves.filter(pl.col("dial") == dial, pl.col("algorithm") == label).sort("n")
            look: Any = {"color": shades[index], "marker": MARKERS[index % len(MARKERS)], "ms": 3}
            axes.plot(rows["n"], lift(rows["mean"].to_numpy(), floor), lw=1.1, **look)
        axes.set(xscale="log", yscale="log", title=title(label))
        floor_band(axes, False, floor)
    for axes in grid.flat[len(labels) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel(Y["mean"])
    for axes in grid[-1]:
        axes.set_xlabel("comparisons n")
    figure.legend(handles=_dial_handles(curves, dials, shades), loc="outside lower center",
                  ncols=len(dials),
                  title=f"coverage of the data (band: below {floor:g}, or 0)")  # fmt: skip
    return figure


def _dial_handles(curves: pl.DataFrame, dials: Sequence[float], shades: Any) -> list[Line2D]:
    """One mark a coverage."""
    found = []
    for index, dial in enumerate(dials):
        row = curves.filter(pl.col("dial") == dial).row(0, named=True)
        share = f"{100 * row['coverage']:.3g} % on π*, C = {row['concentrability']:.3g}"
        words = share if coverage_varies(curves) else f"dial {dial:g}"
        marker = MARKERS[index % len(MARKERS)]
        found.append(Line2D([], [], color=shades[index], marker=marker, ms=4, label=words))
    return found


# --- bounds ------------------------------------------------------------------------------------


def bounds(curves: pl.DataFrame, floor: float) -> Figure | None:
    """A column a coverage: quantiles of what (T1), (T2) speak of, under the theorem; None without any."""
    spoken = curves.filter(pl.col("bounded") > 0)["algorithm"].unique(maintain_order=True).to_list()
    if not spoken:
        return None
    labels, dials = spoken[:6], dials_by_coverage(curves)
    width = max(2.4 * len(dials), 6) / len(dials)
    figure, grid = make_figure(1, len(dials), (width, 3.2), sharex=True, sharey=True)
    for index, (axes, dial) in enumerate(zip(grid[0], dials, strict=True)):
        rows = curves.filter(pl.col("dial") == dial)
        axes.set(xscale="log", yscale="log", xlabel="comparisons n")
        draw_curves(axes, rows, "n", "quantile", labels, floor, others=False)
        floor_band(axes, index == 0, floor)
        _bounds(axes, rows)
        axes.set_title(where(rows.row(0, named=True), not coverage_varies(curves)))
    most = [v for v in curves["range"].drop_nulls() if np.isfinite(v)]
    grid[0, 0].set(ylabel=Y["quantile"], ylim=(floor / 4, 4 * max(most) if most else None))
    figure.legend(handles=_bound_handles(curves, labels), loc="outside lower center", ncols=4)
    return figure


def _bounds(axes: Axes, rows: pl.DataFrame) -> None:
    """The theorem's bound at `λ*`, that of SPAC with `λ*` at its own gap, and the range `R`."""
    star = rows.select("n", "bound_star").drop_nulls().unique().sort("n")
    axes.plot(star["n"], star["bound_star"], color=BLACK, lw=1.2, zorder=2)
    if rows["range"][0] is not None:
        axes.axhline(rows["range"][0], color=BLACK, lw=0.8, ls=(0, (1, 2)), zorder=1)
    own = rows.filter((pl.col("algorithm") == "spac_oracle") & pl.col("bound").is_not_null())
    axes.plot(own["n"], own["bound"], color=BLACK, ls="", marker="x", ms=4.5, zorder=2)


def _bound_handles(curves: pl.DataFrame, labels: Sequence[str]) -> list[Line2D]:
    """What is drawn, and nothing else."""
    found = handles(labels)
    if curves["bound_star"].null_count() < len(curves):
        found.append(Line2D([], [], color=BLACK, lw=1.2, label="theorem (T1) at λ*"))
    if "spac_oracle" in labels:
        found.append(
            Line2D([], [], color=BLACK, ls="", marker="x", label=f"(T1) of {title('spac_oracle')}")
        )
    if curves["range"].null_count() < len(curves):
        vacuous = "R: above it a bound says nothing"
        found.append(Line2D([], [], color=BLACK, lw=0.8, ls=(0, (1, 2)), label=vacuous))
    return found


def handles(labels: Sequence[str]) -> list[Line2D]:
    """A line of a legend for each label."""
    return [
        Line2D([], [], color=look.colour, ls=look.line, lw=look.width, marker=look.marker, ms=5,
               mec="white", mew=0.5, label=look.name)
        for look in looks(labels).values()
    ]  # fmt: skip


# --- against coverage --------------------------------------------------------------------------


def sizes_of(curves: pl.DataFrame, wanted: Sequence[int] | None) -> list[int]:
    """Sample sizes of the panels: those wanted, else those there that are nearest to 10³, 10⁴ and 10⁵."""
    known = curves["n"].unique().sort().to_numpy()
    near = [int(known[np.abs(np.log(known / n)).argmin()]) for n in (1000, TO, 100_000)]
    return sorted(set(near if wanted is None else map(int, wanted)) & set(map(int, known)))


def against_coverage(
    curves: pl.DataFrame, labels: Sequence[str], sizes: Sequence[int] | None, floor: float
) -> Figure | None:
    """Mean suboptimality against concentrability, a panel a sample size; None where there is one dial."""
    panels = sizes_of(curves, sizes)
    if curves["dial"].n_unique() < 2 or not panels:
        return None
    column, words = coverage_axis(curves)
    figure, grid = make_figure(1, len(panels), (3.3, 3.3), sharex=True, sharey=True)
    places, ticks = finite_places(curves, column)
    for axes, n in zip(grid[0], panels, strict=True):
        rows = places.filter(pl.col("n") == n)
        axes.set(xscale="log", yscale="log", title=f"n = {n:,}", xlabel=words)
        draw_curves(axes, rows, "at", "mean", labels, floor, others=False)
        floor_band(axes, n == panels[0], floor)
        if ticks[0]:
            axes.set_xticks(*ticks)
            axes.minorticks_off()
    grid[0, 0].set_ylabel(Y["mean"])
    name_curves(grid[0, -1])
    hero = (headline_labels(curves, labels) or [""])[0]
    figure.suptitle(growth(curves, hero, panels), fontsize=10)
    return figure
