"""From the store to the table of one sweep, with what failed and what is missing said in it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from experiments.common.files import write_atomically
from experiments.engine.columns import COLUMNS, schema, table
from experiments.engine.referee import common_rows
from experiments.engine.specs import Sweep
from experiments.engine.store import read_block, stack
from experiments.engine.units import Unit, all_units, setting


def collect(sweep: Sweep, store: Path) -> pl.DataFrame:
    """The tidy table of a sweep: one row a (cell, seed), whatever became of it."""
    frames = [_rows(unit, label) for unit in all_units(sweep, store) for label in unit.algorithms]
    kept = stack(frames).filter(pl.col("seed") < sweep.seeds)
    labels = pl.Enum(list(sweep.algorithms))
    order = ["dial", "n", pl.col("algorithm").cast(labels), "seed"]
    return kept.sort(order)


def _rows(unit: Unit, label: str) -> pl.DataFrame:
    """The rows of one cell's block, under the label that this sweep gives the algorithm."""
    cell = unit.cell(label)
    if cell.done(unit.block):
        return read_block(cell.block_path(unit.block)).with_columns(algorithm=pl.lit(label))
    error = cell.read_error(unit.block)
    rows: dict[str, Any] = common_rows(setting(unit), label, unit.n, unit.seeds)
    count = len(unit.seeds)
    rows["status"] = ["failed" if error else "missing"] * count
    rows["reason"] = [error.get("reason")] * count
    return pl.from_arrow(table(rows))  # type: ignore[return-value]


def status_line(results: pl.DataFrame) -> str:
    """How many (cell, seed) rows are done, failed, skipped and missing, in one line."""
    counts = Counter(results["status"].to_list())
    total = sum(counts.values())
    parts = [f"{counts[s]} {s}" for s in ("done", "failed", "skipped", "missing")]
    return f"{total} rows: {', '.join(parts)}"


def write_results(results: pl.DataFrame, path: Path) -> None:
    """The tidy table as one Parquet file that explains its columns."""
    extra = [name for name in results.columns if name not in COLUMNS]
    rows = results.select([*COLUMNS, *extra]).to_arrow().cast(schema(extra))
    write_atomically(path, lambda temporary: pq.write_table(rows, temporary))
