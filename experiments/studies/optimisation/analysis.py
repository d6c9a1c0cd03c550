"""Gaps of SPAC-T beside Hedge's bound."""

from __future__ import annotations

import polars as pl

from experiments.common.table import Table
from experiments.engine.study import Told
from experiments.studies.optimisation.cells import Settings


def report(rows: pl.DataFrame, settings: Settings) -> Told:
    """A line a problem and `T`."""
    summary = rows.group_by("problem", "iterations", maintain_order=True).agg(
        pl.col("gap").max(), pl.col("hedge").max(), pl.col("suboptimality").mean()
    )
    lines = [
        [r["problem"], str(r["iterations"]), f"{r['gap']:.2e}", f"{r['hedge']:.2e}",
         f"{r['gap'] / r['hedge']:.2f}", f"{r['suboptimality']:.4f}"]
        for r in summary.iter_rows(named=True)
    ]  # fmt: skip
    header = ["problem", "T", "largest gap", "Hedge", "ratio", "mean suboptimality"]
    return Told(Table("Gap of SPAC-T", header, lines))
