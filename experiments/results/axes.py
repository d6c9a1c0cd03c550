"""From curves to axes, at the sizes of a paper, and the sentence below them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common.direct import name_curves
from experiments.common.style import RC
from experiments.results.reading import known_dial
from experiments.studies.sweep.analysis import TO, coverage_varies, shown_dials
from experiments.studies.sweep.curves import (
    coverage_axis,
    draw_curves,
    finite_places,
    floor_band,
    floor_of,
    headline_labels,
)
from experiments.studies.sweep.multiples import handles
from spac_theory.checks import InputError

PAPER = {"one": (3.25, 2.9), "two": (6.75, 3.2)}  # inches: one column of a paper, or both
PAPER_RC: Any = {
    **RC, "font.size": 8.0, "axes.titlesize": 8.0, "axes.labelsize": 8.0, "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5, "legend.fontsize": 7.5, "svg.fonttype": "path", "savefig.dpi": 300,
}  # fmt: skip


def plot(
    lines: pl.DataFrame,
    ax: Axes | None = None,
    *,
    x: str = "n",
    y: str = "mean",
    dial: float | None = None,
    n: int | None = None,
    algorithms: Sequence[str] | None = None,
    width: str = "one",
    labels: str = "direct",
    floor: float | None = None,
) -> Axes:
    """Draw suboptimality against `n` at one dial, or against concentrability at one `n`.

    Parameters
    ----------
    lines : curves of :func:`experiments.results.curves`
    ax : where to draw; without it a figure of a paper's width is made
    x : `"n"` or `"coverage"`
    y : `"mean"` or `"quantile"`
    dial, n : which dial (against `n`), which sample size (against coverage); by default the sparsest
        dial that covers `π*`, and the size nearest to 10,000
    algorithms : labels in colour, the rest is grey; by default a handful
    width : `"one"` column or `"two"`
    labels : `"direct"` at the ends of curves, `"legend"`, or `"none"`
    floor : where the axis ends, and a band stands for all below; by default the data choose

    Raises InputError for a word, dial, size or algorithm that is not there.
    """
    _word("x", x, ("n", "coverage"))
    _word("y", y, ("mean", "quantile"))
    _word("width", width, tuple(PAPER))
    _word("labels", labels, ("direct", "legend", "none"))
    shown = chosen(lines, algorithms)
    with matplotlib.rc_context(PAPER_RC):
        axes = _own_axes(width) if ax is None else ax
        rows = at_dial(lines, dial) if x == "n" else at_size(lines, n)
        rows = rows.filter(pl.col(y).is_not_null())
        column = _against_n(axes) if x == "n" else _against_coverage(axes, rows)
        rows = rows if x == "n" else finite_places(rows, coverage_axis(rows)[0])[0]
        axes.set(xscale="log", yscale="log", ylabel=_Y[y])
        low = floor_of(lines) if floor is None else floor
        draw_curves(axes, rows, column, y, shown, low)
        floor_band(axes, True, low)
        if labels == "direct":
            name_curves(axes)
        elif labels == "legend":
            _legend(axes, shown, own=ax is None)
    return axes


_Y = {"mean": "mean suboptimality", "quantile": "(1 − δ)-quantile of suboptimality"}
_CAPTION = {
    "mean": ("Mean suboptimality", "95 % bootstrap"),
    "quantile": (_Y["quantile"], "distribution-free 95 %"),
}


def _own_axes(width: str) -> Axes:
    return Figure(figsize=PAPER[width], layout="constrained").subplots()


def _legend(axes: Axes, labels: Sequence[str], *, own: bool) -> None:
    """Below the axes of a figure of our own, inside those of another's."""
    figure = axes.figure
    if own and isinstance(figure, Figure):
        look: Any = {
            "loc": "outside lower center",
            "ncols": 2,
            "handlelength": 2.4,
            "columnspacing": 1,
        }
        figure.legend(handles=handles(labels), fontsize=7, **look)
    else:
        axes.legend(handles=handles(labels))


def _against_n(axes: Axes) -> str:
    axes.set_xlabel("comparisons n")
    return "n"


def _against_coverage(axes: Axes, rows: pl.DataFrame) -> str:
    column, words = coverage_axis(rows)
    _, (places, names) = finite_places(rows, column)
    axes.set(xscale="log", xlabel=words)
    axes.set_xticks(places, names)
    axes.minorticks_off()
    return "at"


def _word(field: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise InputError(f"{field} is {value!r}; take {' or '.join(map(repr, allowed))}.")


def chosen(lines: pl.DataFrame, algorithms: Sequence[str] | None) -> list[str]:
    """Labels to draw in colour: those asked for, or a headline's handful of those that are there."""
    present = lines["algorithm"].unique(maintain_order=True).to_list()
    if algorithms is None:
        return headline_labels(lines)
    strange = [label for label in algorithms if label not in present]
    if strange:
        raise InputError(
            f"algorithms has {strange[0]!r}, which these curves lack; take of {', '.join(present)}."
        )
    return list(algorithms)


def at_dial(lines: pl.DataFrame, dial: float | None) -> pl.DataFrame:
    """The curves of one dial."""
    value = shown_dials(lines)[0] if dial is None else known_dial(lines, dial)
    return lines.filter(pl.col("dial") == value)


def at_size(lines: pl.DataFrame, n: int | None) -> pl.DataFrame:
    """The curves at one sample size; by default the one nearest to 10,000."""
    sizes = lines["n"].unique().sort().to_list()
    if n is not None and n not in sizes:
        raise InputError(
            f"n is {n}, which these curves lack; take one of {', '.join(map(str, sizes))}."
        )
    value = min(sizes, key=lambda size: abs(np.log(size / TO))) if n is None else n
    return lines.filter(pl.col("n") == value)


def caption(lines: pl.DataFrame, *, x: str = "n", y: str = "mean", dial: float | None = None,
            n: int | None = None) -> str:  # fmt: skip
    """What :func:`plot` shows with these arguments, and from how many seeds."""
    rows = at_dial(lines, dial) if x == "n" else at_size(lines, n)
    row = rows.row(0, named=True)
    seeds = sorted({int(count) for count in rows["done"] if count})
    many = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else "".join(map(str, seeds)) or "no"
    c = row["concentrability"]
    where = (
        f"against the number of comparisons n; {row['behaviour']} dial {row['dial']:g}: "
        f"{100 * row['coverage']:.3g} % of the data on π*, C(π*) = {'∞' if np.isinf(c) else f'{c:.3g}'}"
        if x == "n"
        else f"against concentrability{' C(π*)' if coverage_varies(lines) else ''} at n = {row['n']:,}"
    )
    what, band = _CAPTION[y]
    return (
        f"{what} {where}, on {row['problem']}. Bands: {band} intervals over {many} seeds, left out where "
        f"none is honest. Values below {floor_of(lines):g} are drawn in the grey band. "
        "Grey: the other algorithms."
    )
