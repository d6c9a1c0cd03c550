"""The figures of a sweep: suboptimality against the number of comparisons and against coverage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.common.files import write_atomically
from experiments.common.style import GREY, Style, style, use_style
from experiments.studies.sweep.analysis import dials_by_coverage
from experiments.studies.sweep.findings import finding, growth
from spac_theory.checks import InputError, choice

BAND = 0.13


def write_figures(
    curves: pl.DataFrame, theorem: pl.DataFrame, options: Mapping[str, Any], output: Path
) -> list[Path]:
    """Draw both figures in every format of `options` and return the files written.

    Raises InputError for a format that is not known; labels that the sweep lacks are left out.
    """
    formats = [choice("figure.formats", f, ("png", "pdf", "svg")) for f in options["formats"]]
    use_style()
    present = curves["algorithm"].unique().to_list()
    labels = [label for label in options["algorithms"] if label in present]
    drawable = curves.filter(pl.col("mean").is_not_null())
    if drawable.is_empty() or not formats:
        return []
    figures = {
        "suboptimality_n": against_n(drawable, theorem, labels),
        "suboptimality_coverage": against_coverage(drawable, labels, options["sizes"]),
    }
    return [
        path for name, figure in figures.items() for path in _save(figure, output / name, formats)
    ]


def _save(figure: Figure, stem: Path, formats: Sequence[str]) -> list[Path]:
    figure.draw_without_rendering()  # lay out once, not once a format
    figure.set_layout_engine("none")
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in formats]
    for path, kind in zip(paths, formats, strict=True):
        metadata = {"CreationDate": None} if kind == "pdf" else None

        def write(temporary: Path, kind: str = kind, metadata: Any = metadata) -> None:
            figure.savefig(temporary, format=kind, metadata=metadata)

        write_atomically(path, write)
    plt.close(figure)
    return paths


# --- the floor: exact zeros, and numbers too small to matter ----------------------------------

FLOOR = 1e-3


def _lift(values: np.ndarray) -> np.ndarray:
    """Everything below the floor to the middle of its band, so that a log axis can show it."""
    return np.where(values >= FLOOR, values, FLOOR / 2)


def _floor_band(axes: Axes, first: bool) -> None:
    """Mark the band that stands for 0 and all below the floor."""
    axes.axhspan(FLOOR / 4, FLOOR, color="#efefef", zorder=0, lw=0)
    axes.set_ylim(bottom=FLOOR / 4)
    if first:
        axes.annotate(
            f"below {FLOOR:g}, or 0",
            (0.03, FLOOR / 2),
            xycoords=("axes fraction", "data"),
            fontsize=7.5,
            color="#555555",
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
            alpha=BAND,
            lw=0,
            zorder=2,
        )
    axes.plot(
        at,
        middle,
        color=look.colour,
        ls=look.line,
        lw=look.width,
        marker=look.marker,
        ms=4.5,
        mec="white",
        mew=0.5,
        zorder=3 + look.width,
    )


def _curves(axes: Axes, rows: pl.DataFrame, x: str, y: str, labels: Sequence[str]) -> None:
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


def against_n(curves: pl.DataFrame, theorem: pl.DataFrame, labels: Sequence[str]) -> Figure:
    """A column a dial, sparsest first; means above, `(1 − δ)`-quantiles with the bounds below."""
    dials = dials_by_coverage(curves)
    figure, grid = plt.subplots(
        2,
        len(dials),
        figsize=(max(2.55 * len(dials), 7) + 0.6, 6.6),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for column, dial in enumerate(dials):
        rows = curves.filter(pl.col("dial") == dial)
        top, bottom = grid[0, column], grid[1, column]
        for axes, y in ((top, "mean"), (bottom, "quantile")):
            axes.set(xscale="log", yscale="log")
            _curves(axes, rows, "n", y, labels)
            _floor_band(axes, column == 0)
        _bounds(bottom, rows, theorem.filter(pl.col("dial") == dial))
        top.set_title(_column_title(rows.row(0, named=True)), fontsize=9)
        bottom.set_xlabel("comparisons n")
    grid[0, 0].set_ylim(top=1.5 * max(curves["mean"]))
    grid[1, 0].set_ylim(top=4 * max(theorem["range"]))
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


def _column_title(row: Mapping[str, Any]) -> str:
    share = f"{100 * row['coverage']:.3g} % of the data on π*"
    c = row["concentrability"]
    return f"{share}\nC(π*) = " + ("∞" if np.isinf(c) else f"{c:.3g}")


def _bounds(axes: Axes, rows: pl.DataFrame, theorem: pl.DataFrame) -> None:
    """The theorem's bound at `λ*`, that of SPAC with `λ*` at its own gap, and the range `R`."""
    axes.plot(theorem["n"], theorem["theorem"], color="black", lw=1.2, zorder=2)
    axes.axhline(theorem["range"][0], color="black", lw=0.8, ls=(0, (1, 2)), zorder=1)
    own = rows.filter((pl.col("algorithm") == "spac_oracle") & pl.col("bound").is_not_null())
    axes.plot(own["n"], own["bound"], color="black", ls="", marker="x", ms=4.5, zorder=2)


# --- against coverage --------------------------------------------------------------------------


def against_coverage(curves: pl.DataFrame, labels: Sequence[str], sizes: Sequence[int]) -> Figure:
    """Mean suboptimality against concentrability, a panel a sample size."""
    if not sizes:
        raise InputError("figure.sizes is empty; it needs at least one sample size.")
    known = curves["n"].unique().sort().to_numpy()
    nearest: Callable[[int], int] = lambda n: int(known[np.abs(np.log(known / n)).argmin()])  # noqa: E731
    panels = sorted({nearest(int(n)) for n in sizes})
    column, words = _coverage_axis(curves)
    figure, grid = plt.subplots(
        1,
        len(panels),
        figsize=(max(3.3 * len(panels), 7), 4.3),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    places, ticks = _finite(curves, column)
    for axes, n in zip(grid[0], panels, strict=True):
        rows = places.filter(pl.col("n") == n)
        axes.set(xscale="log", yscale="log", title=f"n = {n:,}", xlabel=words)
        _curves(axes, rows, "at", "mean", labels)
        _floor_band(axes, n == panels[0])
        if ticks:
            axes.set_xticks(ticks[0], ticks[1])
            axes.minorticks_off()
    grid[0, 0].set_ylabel("mean suboptimality J(π*) − J(π)")
    _legend(figure, curves, labels, [])
    figure.suptitle(growth(curves, "spac_sqrt_n", panels), fontsize=10.5)
    return figure


def _coverage_axis(curves: pl.DataFrame) -> tuple[str, str]:
    """What to put on the axis: single-policy concentrability, or all-policy where that is fixed."""
    c = curves["concentrability"].drop_nulls().to_numpy()
    if np.ptp(np.log(c[np.isfinite(c) & (c > 0)])) > 0.01 if len(c) else False:
        return "concentrability", "concentrability C(π*)"
    return "concentrability_all", "all-policy concentrability sup C(π)"


def _finite(
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
