"""From the store to the table of a run, with what failed and what is missing said in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import polars as pl

from experiments.engine.columns import table
from experiments.engine.store import stack
from experiments.engine.units import Unit


def rows_of(unit: Unit, label: str) -> pl.DataFrame:
    """The rows of one cell's block, under the label that this run gives the algorithm."""
    cell = unit.cell(label)
    if cell.done(unit.block):
        return cell.read(unit.block).with_columns(algorithm=pl.lit(label))
    error = cell.read_error(unit.block)
    status, reason = "failed" if error else "missing", error.get("reason")
    rows = unit.referee(label).unfitted(status, None if reason is None else str(reason))
    return pl.from_arrow(table(rows))  # type: ignore[return-value]


def collect(units: Iterable[Unit], seeds: int) -> pl.DataFrame:
    """The tidy table of some units: one row a (cell, seed), whatever became of it."""
    kept = list(units)
    frames = [rows_of(unit, label) for unit in kept for label in unit.algorithms]
    labels = pl.Enum(list(dict.fromkeys(label for unit in kept for label in unit.algorithms)))
    rows = stack(frames).filter(pl.col("seed") < seeds)
    return rows.sort(["dial", "n", pl.col("algorithm").cast(labels), "seed"])


def status_line(results: pl.DataFrame) -> str:
    """How many (cell, seed) rows are done, failed, skipped and missing, in one line."""
    counts = Counter(results["status"].to_list())
    parts = [f"{counts[s]} {s}" for s in ("done", "failed", "skipped", "missing")]
    return f"{sum(counts.values())} rows: {', '.join(parts)}"
