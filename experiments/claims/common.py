"""What several claims share."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from experiments.engine.study import Cell, Columns


def stacked(cells: list[Cell], compute: Callable[[Cell], Columns]) -> pl.DataFrame:
    """The rows of all cells, computed here and now."""
    frames = []
    for cell in cells:
        columns = compute(cell)
        count = len(next(iter(columns.values())))
        frames.append(pl.DataFrame({**columns, "seed": list(range(count))}))
    return pl.concat(frames, how="diagonal_relaxed")
