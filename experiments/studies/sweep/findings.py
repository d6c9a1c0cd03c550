"""What a figure says in a sentence, counted from the numbers it draws."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from experiments.common.style import style

FROM, TO = 300, 10_000


def finding(curves: pl.DataFrame, hero: str, rivals: Sequence[str]) -> str:
    """Who falls between n = 300 and 10,000, and at how many coverages; a plain title otherwise.

    A curve *falls* where its interval at the end lies below its interval at the start.
    """
    plain = "Suboptimality against the number of comparisons"
    present = set(curves["algorithm"])
    if not {FROM, TO} <= set(curves["n"]) or hero not in present:
        return plain
    dials = curves["dial"].n_unique()
    parts = [f"{style(a).name} {falls(curves, a)}" for a in (hero, *rivals) if a in present]
    return (
        f"How many of the {dials} coverages see the mean fall from n = {FROM} to {TO:,}: "
        f"{', '.join(parts)}"
    )


def falls(curves: pl.DataFrame, label: str) -> int:
    """At how many dials the mean of `label` is surely lower at `TO` than at `FROM`."""
    rows = curves.filter(pl.col("algorithm") == label)
    start = rows.filter(pl.col("n") == FROM).select("dial", start="mean_low")
    end = rows.filter(pl.col("n") == TO).select("dial", end="mean_high")
    return int(start.join(end, on="dial").filter(pl.col("end") < pl.col("start")).height)


def growth(curves: pl.DataFrame, label: str, sizes: Sequence[int]) -> str:
    """How many times larger the mean is at the worst finite coverage than at the best, by `n`."""
    rows = curves.filter((pl.col("algorithm") == label) & pl.col("concentrability").is_finite())
    rows = rows.sort("concentrability")
    ratios = []
    for n in sizes:
        means = rows.filter(pl.col("n") == n)["mean"]
        if len(means) > 1 and means[0] > 0:
            ratios.append(f"{means[-1] / means[0]:.1f}× at n = {n:,}")
    if not ratios:
        return "Suboptimality against coverage"
    return f"{style(label).name}, worst coverage against best: {', '.join(ratios)}"
