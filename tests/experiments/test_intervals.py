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
    bars = [segment for lines in axis.collections for segment in lines.get_segments()]
    ends = {tuple(segment[:, 1]) for segment in bars}
    assert ends >= {(row["low"], row["high"]) for row in curve[:2].iter_rows(named=True)}
    assert any(low == high == curve["mean"][2] for low, high in ends)  # five samples: no bar


def test_a_title_says_that_a_loss_rises_only_where_it_surely_does() -> None:
    falls = mean_curve(pl.concat([rows(0.5, 10), rows(0.2, 100)]), "n")
    rises = mean_curve(pl.concat([rows(0.2, 10), rows(0.5, 100)]), "n")
    assert trend({0.0: falls, 0.3: rises}).endswith("rises at ε = 0.3")
    assert trend({0.0: falls}).startswith("more data never")
