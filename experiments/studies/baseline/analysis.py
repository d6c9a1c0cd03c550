"""Means for each baseline, and whether `C(π*)` orders them."""

from __future__ import annotations

import polars as pl

from experiments.common.table import Table, plus_minus
from experiments.engine.study import Told
from experiments.studies.baseline.cells import Settings
from spac_theory.statistics import mean_interval


def report(rows: pl.DataFrame, settings: Settings) -> Told:
    """A line a coverage, sample size and baseline."""
    lines = []
    for (share, n, name), part in rows.group_by("coverage", "n", "baseline", maintain_order=True):
        interval = mean_interval(part["suboptimality"], "baseline", str(share), str(n), str(name))
        mean = plus_minus(interval.estimate, interval.half_width)
        lines.append([f"{share:g}", f"{n:,}", name, float(part["concentrability"][0]), mean])
    header = ["coverage", "n", "ν", "C(π*)", "mean suboptimality"]
    return Told(Table("The choice of ν", header, lines, left=0))


def finding(rows: pl.DataFrame) -> str:
    """In how many cells the loss is ordered as `C(π*)` is."""
    cells = [
        part.group_by("baseline").agg(pl.col("suboptimality", "concentrability").mean())
        for _, part in rows.group_by("coverage", "n")
    ]
    agree = sum(
        c.sort("concentrability")["baseline"].equals(c.sort("suboptimality")["baseline"])
        for c in cells
    )
    return f"the further ν is from π* (larger C), the larger the loss: so in {agree} of {len(cells)} cells"
