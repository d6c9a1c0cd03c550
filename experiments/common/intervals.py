"""Means over data sets with their intervals, as a table and as a curve with bars."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from spac_theory.statistics import mean_interval


def mean_curve(rows: pl.DataFrame, x: str, y: str = "suboptimality") -> pl.DataFrame:
    """A line a value of `x`: `mean` of `y`, and `low`, `high`, its 95 % interval (infinite if none)."""
    lines = []
    for (place,), part in rows.group_by(x, maintain_order=True):
        interval = mean_interval(part[y], "curve", str(place))
        lines.append((place, interval.estimate, interval.low, interval.high))
    return pl.DataFrame(lines, schema=[x, "mean", "low", "high"], orient="row")


def draw_means(axis: Axes, curve: pl.DataFrame, x: str, floor: float = 0.0, **look: Any) -> None:
    """A curve of :func:`mean_curve`; a bar where an interval is honest, and nothing below `floor`."""
    at, mean = curve[x].to_numpy(), curve["mean"].clip(lower_bound=floor).to_numpy()
    low, high = (curve[end].to_numpy() for end in ("low", "high"))
    known = np.isfinite(low) & np.isfinite(high)
    down = np.where(known, mean - np.maximum(low, floor), 0.0).clip(0)
    up = np.where(known, high - mean, 0.0).clip(0)
    bars: Any = {"fmt": "none", "elinewidth": 0.9, "capsize": 1.8, "ecolor": look["color"]}
    axis.errorbar(at, mean, yerr=(down, up), **bars)
    axis.plot(at, mean, **look)
