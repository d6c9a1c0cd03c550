"""From curves to axes, at the sizes of a paper, and the sentence below them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common.style import RC
from experiments.results.reading import known_dial
from experiments.studies.sweep.analysis import TO, coverage_varies, shown_dials
from experiments.studies.sweep.figure import (
    FLOOR,
    coverage_axis,
    draw_curves,
    finite_places,
    floor_band,
)
from spac_theory.checks import InputError

PAPER = {"one": (3.25, 2.9), "two": (6.75, 3.2)}  # inches: one column of a paper, or both
HEADLINE = ("spac_sqrt_n", "mle_greedy", "dpo_gradient", "pessimistic_mle", "behaviour_cloning")
PAPER_RC: Any = {
    **RC, "font.size": 8.0, "axes.titlesize": 8.0, "axes.labelsize": 8.0, "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5, "legend.fontsize": 7.5, "svg.fonttype": "none", "savefig.dpi": 300,
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
        draw_curves(axes, rows, column, y, shown)
        floor_band(axes, True)
        if labels == "direct":
            name_curves(axes)
        elif labels == "legend":
            _legend(axes, own=ax is None)
    return axes


_Y = {"mean": "mean suboptimality", "quantile": "(1 − δ)-quantile of suboptimality"}
_CAPTION = {
    "mean": ("Mean suboptimality", "95 % bootstrap"),
    "quantile": (_Y["quantile"], "distribution-free 95 %"),
}


def _own_axes(width: str) -> Axes:
    return Figure(figsize=PAPER[width], layout="constrained").subplots()


def _legend(axes: Axes, *, own: bool) -> None:
    """Below the axes of a figure of our own, inside those of another's."""
    figure = axes.figure
    if own and isinstance(figure, Figure):
        look: Any = {
            "loc": "outside lower center",
            "ncols": 2,
            "handlelength": 2.4,
            "columnspacing": 1,
        }
        figure.legend(*axes.get_legend_handles_labels(), fontsize=7, **look)
    else:
        axes.legend()


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
        return [label for label in HEADLINE if label in present] or present[:5]
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


def name_curves(axes: Axes, gap: float = 0.075) -> None:
    """Write each curve's name at its right end, moved apart by `gap` of the height where ends are close."""
    axes.autoscale_view()
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = []
    for line in axes.lines:
        if not str(line.get_label()).startswith("_"):
            x, y = (np.asarray(values, dtype=float)[-1] for values in line.get_data())
            place = float(x), float(y)
            ends.append((float(to_axes.transform(place)[1]), place, line))
    ends.sort(key=lambda end: end[0])
    heights = spread([height for height, _, _ in ends], gap)
    for height, (_, place, line) in zip(heights, ends, strict=True):
        leader = {"arrowstyle": "-", "lw": 0.5, "color": line.get_color(), "relpos": (0, 0.5)}
        axes.annotate(
            str(line.get_label()), place, xytext=(1.04, height), textcoords="axes fraction",
            color=line.get_color(), fontsize=7, va="center", arrowprops=leader,
        )  # fmt: skip


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Sorted heights moved apart to `gap`, up first and then down again from 1."""
    up: list[float] = []
    for height in heights:
        up.append(max(height, up[-1] + gap) if up else height)
    down: list[float] = []
    for height in reversed(up):
        down.append(min(height, down[-1] - gap if down else 1.0))
    return down[::-1]


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
        f"none is honest. Values below {FLOOR:g} are drawn in the grey band. Grey: the other algorithms."
    )
