"""The picture of the study of `ν`: a panel a coverage, a curve a baseline."""

from __future__ import annotations

import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from experiments.common.figure import make_figure
from experiments.common.style import series
from experiments.engine.setting import BASELINES
from experiments.studies.baseline.analysis import finding
from experiments.studies.baseline.cells import Settings


def draw(rows: pl.DataFrame, settings: Settings) -> Figure:
    """A panel a coverage, a curve a baseline."""
    shares = rows["coverage"].unique(maintain_order=True).to_list()
    drawn, axes = make_figure(1, len(shares), sharey=True)
    for axis, share in zip(axes[0], shares, strict=True):
        part = rows.filter(pl.col("coverage") == share)
        for index, name in enumerate(BASELINES):
            mine = part.filter(pl.col("baseline") == name)
            mean = mine.group_by("n", maintain_order=True).agg(pl.col("suboptimality").mean())
            c = float(mine["concentrability"][0])
            label = f"ν {name}, C = {c:.3g}"
            axis.plot(mean["n"], mean["suboptimality"].clip(1e-5), **series(index), label=label)
        axis.set(xscale="log", yscale="log", xlabel="comparisons n", title=f"coverage {share:g}")
        axis.legend(fontsize=7)
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())
    axes[0, 0].set_ylabel("mean suboptimality (reward)")
    drawn.suptitle(finding(rows), fontsize=10)
    return drawn
