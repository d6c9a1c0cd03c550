"""The picture of the misspecification study: the trap's loss and bounds, and the loss of the spread."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from experiments.common.direct import name_curves
from experiments.common.figure import make_figure
from experiments.common.intervals import draw_means, mean_curve
from experiments.common.style import BLUE, MIDDLE, RED, series
from experiments.studies.misspecification.analysis import BOUNDS
from experiments.studies.misspecification.cells import INSTANCES, Settings

VISIBLE = 1e-3  # a smaller change of a loss cannot be seen in the figure


def _measured(axis: Any, rows: pl.DataFrame, name: str) -> None:
    """Mean loss against `λ`, a curve an `ε`, its name at its end."""
    found = {}
    for index, ((epsilon,), part) in enumerate(rows.group_by("epsilon", maintain_order=True)):
        mean = mean_curve(part, "lam")
        draw_means(axis, mean, "lam", **series(index), label=f"ε = {float(epsilon):g}")
        found[float(epsilon)] = mean
    axis.set(xscale="log", xlabel="λ = √n", ylabel="mean suboptimality (reward)")
    axis.set_title(f"{name}: {trend(found)}")
    axis.set_ylim(0, None)
    name_curves(axis, 0.06)


def trend(curves: Mapping[float, pl.DataFrame]) -> str:
    """At which `ε` the loss ends surely above its smallest value, by more than `VISIBLE`."""
    rising = [e for e, c in curves.items() if _rise(c) > VISIBLE]
    listed = ", ".join(f"{e:g}" for e in rising)
    if not rising:
        return f"more data never make the loss\nsurely larger by {VISIBLE:g}"
    return f"with more data the loss in the end\nsurely rises at ε = {listed}"


def _rise(curve: pl.DataFrame) -> float:
    """From the upper end at the smallest mean to the lower end at the last; means where none is honest."""
    at = int(curve["mean"].arg_min() or 0)
    high = curve["high"][at] if math.isfinite(curve["high"][at]) else curve["mean"][at]
    low = curve["low"][-1] if math.isfinite(curve["low"][-1]) else curve["mean"][-1]
    return float(low - high)


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
    broken = {name: int((part["suboptimality"] > part[name]).sum()) for name in BOUNDS}
    axis.set_title(
        f"trap, ε = {epsilon:g}: of {len(part):,} fits\n{sum(broken.values())} beyond a bound"
    )
    axis.legend(loc="upper left", fontsize=7)
    axis.set_ylim(top=30 * axis.get_ylim()[1])


def draw(rows: pl.DataFrame, settings: Settings) -> Figure:
    """The trap's loss, its bounds, and the loss where nothing amplifies the error."""
    parts = {name: rows.filter(pl.col("instance") == name) for name in INSTANCES}
    shown = [name for name in INSTANCES if len(parts[name])]
    drawn, axes = make_figure(1, len(shown) + ("trap" in shown))
    if "trap" in shown:
        _measured(axes[0, 0], parts["trap"], "trap")
        _bounds(axes[0, 1], parts["trap"])
    if "spread" in shown:
        _measured(axes[0, -1], parts["spread"], "spread")
    return drawn
