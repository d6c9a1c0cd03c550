"""The picture of the optimisation study: a panel a problem, gaps against `T`."""

from __future__ import annotations

import polars as pl
from matplotlib.figure import Figure

from experiments.common.figure import make_figure
from experiments.common.style import BLACK, MIDDLE, RED
from experiments.studies.optimisation.cells import Settings


def draw(rows: pl.DataFrame, settings: Settings) -> Figure:
    """A panel a problem: gaps against `T` with the Hedge line; the interior point's gap is in the title."""
    names = rows["problem"].unique(maintain_order=True).to_list()
    drawn, axes = make_figure(1, len(names), sharey=True)
    for axis, name in zip(axes[0], names, strict=True):
        part = rows.filter(pl.col("problem") == name)
        worst = part.group_by("iterations").agg(pl.col("^gap.*|hedge$").max()).sort("iterations")
        t, share = worst["iterations"], float((part["gap"] / part["hedge"]).max())  # type: ignore[arg-type]
        axis.plot(t, worst["hedge"], color=MIDDLE, label="Hedge's bound R√(log A/2T)")
        least = part.group_by("iterations").agg(pl.col("gap").min()).sort("iterations")["gap"]
        axis.fill_between(t, least, worst["gap"], color=BLACK, alpha=0.15, lw=0)
        axis.plot(
            t, worst["gap"], color=BLACK, marker="o", ms=4, label="mixture (band: all data sets)"
        )
        if "gap_last" in worst.columns and worst["gap_last"].null_count() < len(worst):
            look = {"color": RED, "marker": "v", "ms": 4, "ls": "--"}
            axis.plot(t, worst["gap_last"], **look, label="last iterate")
        exact = float(part["gap_saddle"].max())  # type: ignore[arg-type]
        axis.set(xscale="log", yscale="log", xlabel="rounds T")
        axis.set_title(
            f"{name}: at most {share:.2f} of the bound\n(interior point: gap {exact:.0e})"
        )
        axis.legend(fontsize=7, loc="lower left")
    axes[0, 0].set_ylabel("largest certified gap (reward)")
    return drawn
