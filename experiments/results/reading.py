"""From files to rows, from rows to curves, from curves to a table."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from experiments.common.table import Table
from experiments.engine.columns import COLUMNS
from experiments.engine.store import read_results
from experiments.studies.sweep.analysis import aggregate, shown_dials
from experiments.studies.sweep.table import table as sweep_table
from spac_theory.checks import InputError

ONE = ("problem", "behaviour", "delta", "reference", "baseline", "job")  # what curves may not mix


def load(place: str | Path) -> pl.DataFrame:
    """The rows of a results file, an output folder or a store, a line a fit.

    Raises InputError where there is nothing to read.
    """
    return read_results(place)


def curves(rows: pl.DataFrame) -> pl.DataFrame:
    """A line a (dial, n, algorithm): :func:`experiments.studies.sweep.analysis.aggregate`.

    `δ` is that of the rows. Raises InputError where columns are missing, or where the rows mix settings:
    a mean over two problems is no curve.
    """
    lacking = [name for name in COLUMNS if name not in rows.columns]
    if lacking:
        raise InputError(
            f"the rows lack the columns {', '.join(sorted(lacking))}; read the results of a sweep that "
            "this version wrote."
        )
    for name in (name for name in ONE if name in rows.columns):
        found = rows[name].drop_nulls().unique().sort().to_list()
        if len(found) > 1:
            raise InputError(
                f"the rows have {len(found)} values of {name}: {', '.join(map(str, found[:3]))}; keep one, "
                f'as in rows.filter(pl.col("{name}") == {found[0]!r}).'
            )
    delta = rows["delta"].drop_nulls()
    if delta.is_empty():
        raise InputError("the rows have no delta; read the results of a sweep.")
    return aggregate(rows, float(delta[0]))


def table(lines: pl.DataFrame, dial: float | None = None) -> Table:
    """Means of one dial, sample sizes across; by default the sparsest dial that covers `π*`."""
    chosen = shown_dials(lines)[0] if dial is None else dial
    return sweep_table(lines.filter(pl.col("dial") == known_dial(lines, chosen)), chosen)


def known_dial(lines: pl.DataFrame, dial: float) -> float:
    """`dial` if the curves have it. Raises InputError with those they have."""
    dials = lines["dial"].unique().sort().to_list()
    if dial not in dials:
        raise InputError(
            f"dial is {dial:g}, which these curves lack; take one of {', '.join(f'{d:g}' for d in dials)}."
        )
    return dial
