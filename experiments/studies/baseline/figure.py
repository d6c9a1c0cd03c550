"""The picture of the study of `ν`: a panel a coverage, a curve a baseline."""

from __future__ import annotations

import polars as pl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from experiments.common.figure import make_figure
from experiments.common.intervals import draw_means, mean_curve
from experiments.common.style import series
from experiments.engine.setting import BASELINES
from experiments.studies.baseline.analysis import finding
from experiments.studies.baseline.cells import Settings


def draw(rows: pl.DataFrame, settings: Settings) -> Figure:
    """A panel a coverage, a curve a baseline; the legend inside a panel gives each `C(π*)`."""
    shares = rows["coverage"].unique(maintain_order=True).to_list()
    across = min(2, len(shares))
    size = (4.2, 3.0)
    drawn, axes = make_figure(-(-len(shares) // across), across, size, sharex=True, sharey=True)
    for axis in axes.flat[len(shares) :]:
        axis.set_visible(False)
    for axis, share in zip(axes.flat, shares, strict=False):
        part, labels = rows.filter(pl.col("coverage") == share), list[str]()
        for index, name in enumerate(BASELINES):
            mine = part.filter(pl.col("baseline") == name)
            labels.append(f"C = {float(mine['concentrability'][0]):.3g}")
            mean = mean_curve(mine, "n")
            draw_means(axis, mean, "n", 1e-5, **series(index), label=f"ν {name}")
        axis.set(xscale="log", yscale="log", title=f"coverage {share:g}")
        lines = [line for line in axis.lines if not str(line.get_label()).startswith("_")]
        axis.legend(lines, labels, fontsize=7)
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())
    for axis in axes[:, 0]:
        axis.set_ylabel("mean suboptimality (reward)")
    for axis in axes[-1]:
        axis.set_xlabel("comparisons n")
    handles = [Line2D([], [], **series(i), label=f"ν {name}") for i, name in enumerate(BASELINES)]
    drawn.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    drawn.suptitle(finding(rows), fontsize=10)
    return drawn
