"""From rows to curves: one line a (dial, n, algorithm), with intervals over seeds."""

from __future__ import annotations

from typing import Any

import polars as pl

from spac_theory.statistics import mean_interval, quantile_interval

CURVE = ["dial", "n", "algorithm"]


def aggregate(results: pl.DataFrame, delta: float) -> pl.DataFrame:
    """Curves of a sweep, in the order of `results`.

    Columns: the cell; `coverage`, `concentrability`, `oracle`; the counts `done, failed, skipped,
    missing`; over the finished seeds the mean suboptimality and its 95 % bootstrap interval
    (`mean, mean_low, mean_high`), the `(1 − δ)`-quantile and its distribution-free 95 % interval
    (`quantile, quantile_low, quantile_high`; infinite where too few seeds allow none), the number
    of exact `zeros`; the median `bound` of (T1), how many seeds exceed theirs (`violations` of
    `bounded`), the largest certified `duality_gap`, and the `seconds` of all fits.
    """
    done = pl.col("status") == "done"
    bounded = done & pl.col("bound_upper").is_not_null()
    counts = [
        (pl.col("status") == s).sum().alias(s) for s in ("done", "failed", "skipped", "missing")
    ]
    table = results.group_by(CURVE, maintain_order=True).agg(
        pl.col(
            "problem", "behaviour", "coverage", "concentrability", "concentrability_all"
        ).first(),
        pl.col("oracle").any(),
        *counts,
        pl.col("suboptimality").filter(done).alias("samples"),
        (pl.col("suboptimality").filter(done) == 0).sum().alias("zeros"),
        pl.col("lam").median(),
        pl.col("bound_upper").median().alias("bound"),
        bounded.sum().alias("bounded"),
        (bounded & (pl.col("suboptimality") > pl.col("bound_upper"))).sum().alias("violations"),
        pl.col("gap").filter(pl.col("certified") == "duality gap").max().alias("duality_gap"),
        (pl.col("converged") == False).sum().alias("not_converged"),  # noqa: E712
        pl.col("seconds").sum(),
        pl.col("reason").drop_nulls().first(),
    )
    intervals = [_intervals(samples, delta) for samples in table["samples"].to_list()]
    columns = pl.DataFrame(intervals, schema=dict.fromkeys(_intervals([], delta), pl.Float64))
    return pl.concat([table.drop("samples"), columns], how="horizontal")


def _intervals(samples: list[float], delta: float) -> dict[str, Any]:
    """Mean and quantile of one curve's point with their intervals; null without samples."""
    names = ("mean", "mean_low", "mean_high", "quantile", "quantile_low", "quantile_high")
    if not samples:
        return dict.fromkeys(names)
    mean, quantile = mean_interval(samples), quantile_interval(samples, 1 - delta)
    values = (mean.estimate, mean.low, mean.high, quantile.estimate, quantile.low, quantile.high)
    return dict(zip(names, values, strict=True))


def dials_by_coverage(curves: pl.DataFrame) -> list[float]:
    """The dials from the least to the most covered, by concentrability of the optimal policy."""
    order = curves.group_by("dial").agg(pl.col("concentrability").first())
    dials: list[float] = order.sort(["concentrability", "dial"], descending=True)["dial"].to_list()
    return dials


def shown_dials(curves: pl.DataFrame) -> list[float]:
    """Two dials for a summary: the sparsest that still covers `π*`, and a well-covered one."""
    ordered = dials_by_coverage(curves)
    finite = curves.filter(pl.col("concentrability").is_finite())["dial"].unique()
    kept = [dial for dial in ordered if dial in finite] or ordered
    return list(dict.fromkeys([kept[0], kept[round(0.75 * (len(kept) - 1))]]))
