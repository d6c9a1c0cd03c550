"""From rows to curves: one line a (dial, n, algorithm), with intervals; and what they say in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from experiments.common.style import title
from spac_theory.statistics import mean_interval, quantile_interval

CURVE = ["dial", "n", "algorithm"]
FROM, TO = 300, 10_000


def aggregate(results: pl.DataFrame, delta: float) -> pl.DataFrame:
    """Curves of a sweep, in the order of `results`.

    Columns: the cell; `coverage`, `concentrability`, `oracle`; the counts `done, failed, skipped,
    missing`; over the finished seeds the mean suboptimality and its 95 % bootstrap interval (`mean,
    mean_low, mean_high`; infinite where none is honest), the `(1 − δ)`-quantile and its
    distribution-free 95 % interval (`quantile, quantile_low, quantile_high`; infinite where too few
    seeds allow none), the number of exact `zeros`; the median `bound` of (T1), the bound at `λ*`
    (`bound_star`) and `range`, how many seeds exceed theirs (`violations` of `bounded`), the largest
    certified `duality_gap`, and the `seconds` of all fits.
    """
    done = pl.col("status") == "done"
    bounded = done & pl.col("bound_upper").is_not_null()
    broken = pl.col("bound_upper").is_nan() | (pl.col("suboptimality") > pl.col("bound_upper"))
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
        pl.col("bound_star", "range").first(),
        bounded.sum().alias("bounded"),
        (bounded & broken).sum().alias("violations"),
        pl.col("gap").filter(pl.col("gap_kind") == "duality gap").max().alias("duality_gap"),
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
    order = curves.group_by("dial").agg(pl.col("concentrability").first()).sort("dial")
    pairs = [(dial, _rounded(c)) for dial, c in order.iter_rows()]
    return [dial for dial, _ in sorted(pairs, key=lambda pair: (-pair[1], pair[0]))]


def _rounded(value: float) -> float:
    """A number to nine digits: what differs by rounding alone is the same."""
    return float(f"{value:.9g}")


def coverage_varies(curves: pl.DataFrame) -> bool:
    """Whether concentrability of the optimal policy differs between the dials by more than rounding."""
    return len({_rounded(c) for c in curves["concentrability"].drop_nulls()}) > 1


def shown_dials(curves: pl.DataFrame) -> list[float]:
    """Two dials for a summary: the sparsest that still covers `π*`, and a well-covered one."""
    ordered = dials_by_coverage(curves)
    finite = curves.filter(pl.col("concentrability").is_finite())["dial"].unique()
    kept = [dial for dial in ordered if dial in finite] or ordered
    return list(dict.fromkeys([kept[0], kept[round(0.75 * (len(kept) - 1))]]))


def ends(curves: pl.DataFrame) -> tuple[int, int]:
    """The two sample sizes that are compared: 300 and 10,000, else the smallest and the largest."""
    sizes = curves["n"].unique().sort().to_list()
    return (FROM, TO) if {FROM, TO} <= set(sizes) else (sizes[0], sizes[-1])


def finding(curves: pl.DataFrame, labels: Sequence[str]) -> str:
    """Whose mean falls, and at how many coverages, in one line; a plain title where nothing can be said.

    A curve *falls* where its interval at the end lies below its interval at the start.
    """
    start, end = ends(curves)
    if start == end or not labels:
        return "Suboptimality against the number of comparisons"
    dials, by_count = curves["dial"].n_unique(), dict[int, list[str]]()
    for label in labels:
        by_count.setdefault(falls(curves, label), []).append(title(label))
    parts = [
        f"at {'none' if count == 0 else f'{count} of {dials}'}: {', '.join(names)}"
        for count, names in sorted(by_count.items(), reverse=True)
    ]
    what = "coverage" if dials == 1 else "coverages"
    parts[0] = parts[0].replace(":", f" {what}:", 1)
    return f"From n = {start:,} to {end:,} the mean falls " + "\n".join(parts)


def falls(curves: pl.DataFrame, label: str) -> int:
    """At how many dials the mean of `label` is surely lower at the end than at the start."""
    own = curves.filter(pl.col("algorithm") == label)
    return moves(own, *ends(curves))["move"].to_list().count("falls")


def moves(curves: pl.DataFrame, start: int, end: int) -> pl.DataFrame:
    """What every mean does between two sample sizes: columns `dial, algorithm, move, before, after`.

    It *falls* or *rises* where its intervals at the two ends are apart, and is *open* otherwise.
    """
    keys, named = ["dial", "algorithm"], ("mean", "mean_low", "mean_high")
    first = curves.filter(pl.col("n") == start).select(*keys, *named)
    last = curves.filter(pl.col("n") == end).select(*keys, *named)
    move = (
        pl.when(pl.col("mean_high_right") < pl.col("mean_low"))
        .then(pl.lit("falls"))
        .when(pl.col("mean_low_right") > pl.col("mean_high"))
        .then(pl.lit("rises"))
        .otherwise(pl.lit("open"))
        .alias("move")
    )
    both = first.join(last, on=keys, maintain_order="left")
    return both.select(*keys, move, before="mean", after="mean_right")


def growth(curves: pl.DataFrame, label: str, sizes: Sequence[int]) -> str:
    """How many times larger the mean is at the worst finite coverage than at the best, by `n`."""
    rows = curves.filter((pl.col("algorithm") == label) & pl.col("concentrability").is_finite())
    ordered = dials_by_coverage(rows)
    if len(ordered) < 2 or not coverage_varies(rows):
        return "Suboptimality against coverage"
    worst, best = (rows.filter(pl.col("dial") == dial) for dial in (ordered[0], ordered[-1]))
    ratios = []
    for n in sizes:
        high, low = (part.filter(pl.col("n") == n)["mean"] for part in (worst, best))
        if len(high) and len(low) and low[0] and low[0] > 0 and high[0] is not None:
            ratios.append(f"{high[0] / low[0]:.1f}× at n = {n:,}")
    if not ratios:
        return "Suboptimality against coverage"
    return f"{title(label)}, worst coverage against best: {', '.join(ratios)}"
