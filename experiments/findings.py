"""What a figure says in a sentence, counted from the numbers it draws."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from experiments.style import style

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
    parts = [f"{style(hero).name} falls at {falls(curves, hero)} of {dials} coverages"]
    parts += [f"{style(r).name} at {falls(curves, r)}" for r in rivals if r in present]
    return f"{plain}. From n = {FROM} to {TO:,}: {', '.join(parts)}."


def falls(curves: pl.DataFrame, label: str) -> int:
    """At how many dials the mean of `label` is surely lower at `TO` than at `FROM`."""
    rows = curves.filter(pl.col("algorithm") == label)
    start = rows.filter(pl.col("n") == FROM).select("dial", start="mean_low")
    end = rows.filter(pl.col("n") == TO).select("dial", end="mean_high")
    return int(start.join(end, on="dial").filter(pl.col("end") < pl.col("start")).height)
