"""The picture of the violations study: the share of instances beyond each ratio."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from experiments.common.figure import make_figure
from experiments.common.style import BAND, MIDDLE, series
from experiments.studies.violations.analysis import BOUNDS
from experiments.studies.violations.cells import CLASSES, Settings


def draw(rows: pl.DataFrame, settings: Settings) -> Figure:
    """Share of instances beyond each ratio of measured to bound, a curve a class."""
    drawn, axes = make_figure(1, 3)
    for axis, name in zip(axes[0], ("t1", "t2", "h"), strict=True):
        for index, kind in enumerate(CLASSES):
            ratio = np.sort(rows.filter(pl.col("reward_class") == kind)[name].to_numpy())
            share = 1 - np.arange(len(ratio)) / len(ratio)
            look = series(index, marker="", lw=1.6)
            axis.plot(ratio.clip(1e-4), share, label=kind, **look)
        axis.axvline(1, color=MIDDLE, lw=1)
        axis.axvspan(1, 2.5, color=BAND, zorder=0)
        axis.annotate("violated", (1.05, 0.5), va="center", fontsize=8, rotation=90)
        every = rows[name].to_numpy()
        broken, largest = int((~(every <= 1)).sum()), float(every.max())  # a NaN is a violation
        axis.set(xscale="log", yscale="log", xlabel="measured / bound", xlim=(1e-4, 2.5))
        axis.set(ylabel="share of instances beyond")
        axis.set_title(
            f"{BOUNDS[name]}: {broken} of {len(rows):,} violated (largest ratio {largest:.2f})"
        )
        axis.legend(loc="lower left", title="class")
    return drawn
