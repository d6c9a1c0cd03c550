"""Names written at the ends of curves, in their colours: a legend that is read where one looks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes


def name_curves(axes: Axes, gap: float = 0.075, size: float = 7) -> None:
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
            color=line.get_color(), fontsize=size, va="center", arrowprops=leader,
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
