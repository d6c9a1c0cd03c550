"""The picture of the misspecification study: the trap's loss and bounds, and the loss of the spread."""

from __future__ import annotations

from typing import Any

import polars as pl
from matplotlib.figure import Figure

from experiments.common.figure import make_figure
from experiments.common.style import BLUE, MIDDLE, RED, series
from experiments.studies.misspecification.analysis import BOUNDS
from experiments.studies.misspecification.cells import INSTANCES, Settings


def _measured(axis: Any, rows: pl.DataFrame, title: str) -> None:
    """Mean loss against `λ`, a curve an `ε`."""
    for index, ((epsilon,), part) in enumerate(rows.group_by("epsilon", maintain_order=True)):
        mean = part.group_by("n", maintain_order=True).agg(pl.col("suboptimality", "lam").mean())
        label = f"ε = {float(epsilon):g}"
        axis.plot(mean["lam"], mean["suboptimality"], **series(index), label=label)
    axis.set(xscale="log", xlabel="λ = √n", ylabel="mean suboptimality (reward)", title=title)
    axis.set_ylim(0, None)
    axis.legend()


def _bounds(axis: Any, rows: pl.DataFrame) -> None:
    """The largest `ε` of the trap: what was lost, and what both bounds allow."""
    epsilon = float(rows["epsilon"].max())  # type: ignore[arg-type]
    part = rows.filter(pl.col("epsilon") == epsilon)
    names = ("suboptimality", "bound_upper", "bound_projected", "lam", "projected_distance")
    mean = part.group_by("n", maintain_order=True).agg(pl.col(*names).mean())
    axis.plot(mean["lam"], mean["bound_upper"], color=RED, ls="--", label=BOUNDS["bound_upper"])
    label = BOUNDS["bound_projected"]
    axis.plot(mean["lam"], mean["bound_projected"], color=BLUE, ls="-.", label=label)
    far = float(mean["projected_distance"][0])
    axis.axhline(far, color=MIDDLE, lw=0.8, ls=":", label=f"ε° = {far:.2g}")
    shown = mean.filter(pl.col("suboptimality") > 1e-4)
    axis.plot(
        shown["lam"], shown["suboptimality"], color="black", marker="o", ms=4, label="measured"
    )
    axis.set(xscale="log", yscale="log", xlabel="λ = √n", ylabel="suboptimality (reward)")
    axis.set_title(f"trap, ε = {epsilon:g}: the price grows with λ\nup to ε°, never beyond")
    axis.legend()


def draw(rows: pl.DataFrame, settings: Settings) -> Figure:
    """The trap's loss, its bounds, and the loss where nothing amplifies the error."""
    parts = {name: rows.filter(pl.col("instance") == name) for name in INSTANCES}
    shown = [name for name in INSTANCES if len(parts[name])]
    drawn, axes = make_figure(1, len(shown) + ("trap" in shown))
    if "trap" in shown:
        title = "trap: more trust in the data (λ),\nmore loss, as the class misses r* by more"
        _measured(axes[0, 0], parts["trap"], title)
        _bounds(axes[0, 1], parts["trap"])
    if "spread" in shown:
        title = "spread: nothing amplifies the error,\nand the loss settles low"
        _measured(axes[0, -1], parts["spread"], title)
    return drawn
