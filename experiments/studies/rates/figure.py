"""The picture of the rates study: against `n`, against `√(C/n)`, and at a gap that stays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from experiments.common.figure import make_figure
from experiments.common.intervals import draw_means, mean_curve
from experiments.common.style import BLACK, BLUE, MIDDLE, RED, series
from experiments.studies.rates.analysis import collapse, means
from experiments.studies.rates.cells import Settings
from spac_theory.instances.local_family import LOSS


def _curves(axis: Any, local: pl.DataFrame, rows: pl.DataFrame, delta: float) -> None:
    """Against `n`: a curve a coverage, with the bounds that belong to it in its colour."""
    slopes = []
    for index, ((p,), part) in enumerate(local.group_by("coverage", maintain_order=True)):
        slopes.append(float(np.polyfit(part["n"].log(), part["suboptimality"].log(), 1)[0]))
        mean = mean_curve(rows.filter(pl.col("coverage") == p), "n")
        look, n = series(index, ls="-"), part["n"]
        colour = look["color"]
        label = f"{part['coverage'][0]:g} (C = {part['concentrability'][0]:.2g})"
        draw_means(axis, mean, "n", **look, label=label)
        axis.plot(n, part["bound_upper"], color=colour, lw=0.9, ls="--")
        axis.plot(n, part["bound_lower"], color=colour, lw=0.9, ls=":")
    axis.axhline(LOSS, color=MIDDLE, lw=0.8)
    axis.annotate("range R", (local["n"].max(), LOSS), va="bottom", ha="right", fontsize=8)
    axis.set(xlabel="comparisons n", ylabel="suboptimality (reward)")
    ends = sorted({f"{slope:.2f}".replace("-", "−") for slope in (min(slopes), max(slopes))})
    axis.set_title(f"mean falls like n to the power {' to '.join(ends)}\n"
                   f"(dashed: (T1), δ = {delta:g}; dotted: lower bound)")  # fmt: skip
    axis.set_yscale("log")
    axis.set_ylim(None, 40)
    axis.legend(title="coverage of π*", loc="upper right", ncol=2, fontsize=7, title_fontsize=7)


def _collapse(axis: Any, local: pl.DataFrame, r_squared: float) -> None:
    """Against `√(C/n)`: every coverage, between its two bounds."""
    for index, (_, part) in enumerate(local.group_by("coverage", maintain_order=True)):
        look = series(index, ls="", ms=5)
        axis.plot(part["x"], part["suboptimality"], **look)
        axis.plot(part["x"], part["worse"], **{**look, "ms": 9}, mfc="none")
        axis.plot(part["x"], part["bound_lower"], color=look["color"], marker="_", ls="", ms=7)
    order = local.sort("x")
    axis.plot(order["x"], order["bound_upper"], color=BLACK, lw=1, ls="--", label="(T1)")
    axis.plot([], [], color=BLACK, ls="", marker="o", ms=5, label="mean at r*")
    axis.plot(
        [], [], color=BLACK, ls="", marker="o", ms=9, mfc="none", label="worse of r* and rival"
    )
    level = math.exp(float((local["suboptimality"] / local["x"]).log().mean()))  # type: ignore[arg-type]
    axis.plot(order["x"], level * order["x"], color=MIDDLE, lw=1, label=f"{level:.2f} √(C/n)")
    axis.plot([], [], color=BLACK, ls="", marker="_", ms=7, label="lower bound")
    axis.set(xlabel="√(C/n)", ylabel="suboptimality (reward)")
    axis.set_title(f"all coverages on one line (R² = {r_squared:.4f}),\nbetween the two bounds")
    axis.legend(loc="upper left", fontsize=7)


def _fixed(axis: Any, fixed: pl.DataFrame, rows: pl.DataFrame) -> None:
    """A gap that does not shrink, against `n`."""
    n, y = fixed["n"].to_numpy(), fixed["suboptimality"].to_numpy()
    low = max(y[y > 0].min() / 3, 1e-7)
    slope = float(np.polyfit(np.log(n[y > 0][-3:]), np.log(y[y > 0][-3:]), 1)[0])
    axis.plot(n, fixed["bound_upper"], color=BLACK, lw=1, ls="--", label="(T1)")
    axis.plot(n, y[0] * np.sqrt(n[0] / n), color=MIDDLE, lw=1, label="slope −1/2")
    mean = mean_curve(rows, "n").filter(pl.col("mean") > 0)
    draw_means(axis, mean, "n", low, color=BLUE, marker="o", ms=4, label="mean at r*")
    worse = fixed["worse"].to_numpy()
    axis.plot(n[worse > 0], worse[worse > 0], color=RED, marker="o", mfc="none", ms=8, ls="",
              label="worse of r* and rival")  # fmt: skip
    axis.plot(n, fixed["bound_lower"], color=BLACK, lw=1, ls=":", label="lower bound")
    axis.set(xlabel="comparisons n", ylabel="suboptimality (reward)", ylim=(low, None))
    axis.set_title(
        f"a gap that stays: at the largest n\nthe mean falls like n to the power −{-slope:.1f}"
    )
    axis.legend(loc="lower left", fontsize=7)


def draw(rows: pl.DataFrame, settings: Settings) -> Figure:
    """Three panels: against `n`, against `√(C/n)`, and the fixed instance."""
    table = means(rows, settings.delta)
    local, fixed = (table.filter(pl.col("fixed_gap") == stays) for stays in (False, True))
    drawn, axes = make_figure(1, 3 if len(fixed) else 2)
    _curves(axes[0, 0], local, rows.filter(~pl.col("fixed_gap")), settings.delta)
    _collapse(axes[0, 1], local, collapse(rows.filter(~pl.col("fixed_gap"))))
    if len(fixed):
        _fixed(axes[0, 2], fixed, rows.filter(pl.col("fixed_gap")))
    for axis in axes[0]:
        axis.set(xscale="log", yscale="log")
    return drawn
