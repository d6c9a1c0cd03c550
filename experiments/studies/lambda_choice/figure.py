"""The picture of the study of `λ`: a curve a sample size, a star where `λ*` falls."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from experiments.common.figure import make_figure
from experiments.common.intervals import draw_means, mean_curve
from experiments.common.style import NOTE, series
from experiments.studies.lambda_choice.cells import Settings


def _span(values: list[float]) -> str:
    """`low–high` of some numbers, or the one they all are."""
    ends = [f"{value:.2g}" for value in (min(values), max(values))]
    return ends[0] if ends[0] == ends[1] else "–".join(ends)


def draw(rows: pl.DataFrame, settings: Settings) -> Figure:
    """A curve a sample size; a star marks where the theorem's `λ*` falls."""
    drawn, axes = make_figure(1, 1)
    axis, low = axes[0, 0], 1e-5
    best, stars = [], []
    for index, ((n,), part) in enumerate(rows.group_by("n", maintain_order=True)):
        mean = mean_curve(part, "scale")
        x, y = mean["scale"].to_numpy(), mean["mean"].clip(low).to_numpy()
        look = series(index)
        draw_means(axis, mean, "scale", low, **look, label=f"n = {n:,}")
        star = float(part["star_scale"][0])
        best.append(float(x[y.argmin()]))
        stars.append(star)
        at = float(np.exp(np.interp(np.log(star), np.log(x), np.log(y))))
        axis.plot(star, at, marker="*", ms=14, color=look["color"], mec="white", zorder=5)
    axis.plot([], [], ls="", marker="*", ms=12, color=NOTE, label="the theorem's λ*")
    axis.set(xscale="log", yscale="log", xlabel="λ / √n", ylabel="mean suboptimality (reward)")
    axis.set_title(
        f"best at λ = {_span(best)} √n;\nthe theorem's λ* is {_span(stars)} √n (floor {low:g})"
    )
    axis.legend()
    return drawn
