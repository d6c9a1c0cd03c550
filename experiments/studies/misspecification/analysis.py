"""What was lost on each instance, and how often each bound was broken."""

from __future__ import annotations

import polars as pl

from experiments.common.table import Table
from experiments.engine.study import Told
from experiments.studies.misspecification.cells import Settings
from spac_theory.statistics import clopper_pearson

BOUNDS = {"bound_upper": "(T1) + term in λ", "bound_projected": "(T1) around r°"}


def violations(rows: pl.DataFrame) -> tuple[str, ...]:
    """How often each bound was broken, with its interval."""
    said = []
    for name, words in BOUNDS.items():
        broken = int((rows["suboptimality"] > rows[name]).sum())
        high = clopper_pearson(broken, len(rows)).high
        said.append(f"{words}: {broken} violations in {len(rows)} fits (at most {high:.2g})")
    return tuple(said)


def report(rows: pl.DataFrame, settings: Settings) -> Told:
    """A line an instance, `ε` and sample size."""
    table = rows.group_by("instance", "epsilon", "n", maintain_order=True).agg(
        pl.col("suboptimality").mean(),
        pl.col("suboptimality").quantile(1 - settings.delta).alias("quantile"),
        pl.col("projected_distance", "bound_upper", "bound_projected").mean(),
    )
    names = ("suboptimality", "quantile", "projected_distance", *BOUNDS)
    lines = [
        [r["instance"], f"{r['epsilon']:g}", f"{r['n']:.0e}", *(r[name] for name in names)]
        for r in table.iter_rows(named=True)
    ]
    header = ["instance", "ε", "n", "mean", "quantile", "ε°", "(T1) + term", "(T1) at r°"]
    return Told(Table("A class that misses r*", header, lines), violations(rows))
