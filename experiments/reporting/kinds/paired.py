"""Two sources of one kind, data set by data set: what changed, with intervals of the differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from experiments.common.table import Table
from experiments.reporting.kinds.kind import Source, Told
from experiments.studies.sweep.table import short
from spac_theory.checks import InputError
from spac_theory.statistics import mean_interval

MOVES = ("lower", "higher", "equal", "open")


@dataclass(frozen=True)
class Pairs:
    """What is compared: the `frames` of both sources, with the columns `keys` of a cell, `unit` and `value`.

    A `unit` (a data set, a prompt) is in both; the sources must agree in the columns `same`, or their
    units are not the same.
    """

    frames: Sequence[pl.DataFrame]
    keys: Sequence[str]
    unit: str
    value: str
    same: Sequence[str] = ()


def told_apart(a: Source, b: Source, pairs: Pairs) -> Told:
    """Answers, table and data of the paired differences, `b` less `a`."""
    _check(a, b, pairs)
    cells = differences(pairs)
    if cells.is_empty():
        raise InputError(
            f"{a.folder} and {b.folder} share no {' and '.join(pairs.keys)}; compare results that do."
        )
    told = _answers(cells, pairs)
    return Told(told, tables=[_table(cells, pairs)], data={"comparison": cells})


def _check(a: Source, b: Source, pairs: Pairs) -> None:
    for name in pairs.same:
        if name not in a.rows.columns or name not in b.rows.columns:
            continue
        found = [s.rows[name].drop_nulls().unique().sort().to_list() for s in (a, b)]
        if found[0] != found[1]:
            raise InputError(
                f"{name} is {found[0]} in {a.folder} and {found[1]} in {b.folder}, so their data sets "
                "are not the same; compare results of one setting."
            )


def differences(pairs: Pairs) -> pl.DataFrame:
    """A line a cell that both have: means over the units that both have, and B − A.

    `low, high` are the 95 % bootstrap interval of the mean difference (infinite where none is honest);
    `move` is lower, higher, equal (in every unit) or open.
    """
    on, value = [*pairs.keys, pairs.unit], pairs.value
    frames = [_numbered(frame, pairs) for frame in pairs.frames]
    joined = frames[0].join(frames[1], on=on, suffix="_b", maintain_order="left", nulls_equal=True)
    cells = joined.group_by(pairs.keys, maintain_order=True).agg(
        pl.len().alias("units"),
        pl.col(value).mean().alias("a"),
        pl.col(f"{value}_b").mean().alias("b"),
        (pl.col(f"{value}_b") - pl.col(value)).alias("change"),
    )
    found = [_interval(values) for values in cells["change"].to_list()]
    moves = pl.DataFrame(
        found, schema=dict.fromkeys(("change", "low", "high"), pl.Float64) | {"move": pl.String}
    )
    return pl.concat([cells.drop("change"), moves], how="horizontal")


def _numbered(frame: pl.DataFrame, pairs: Pairs) -> pl.DataFrame:
    """Units that are no numbers of their own within a cell are told apart by their order."""
    on = [*pairs.keys, pairs.unit]
    kept = frame.select(*on, pairs.value)
    if kept.select(on).is_duplicated().any():
        order = pl.int_range(pl.len(), dtype=pl.Int64).over(pairs.keys)
        kept = kept.with_columns(order.alias(pairs.unit))
    return kept


def _interval(values: list[float]) -> dict[str, float | str]:
    """Mean difference, its interval, and what it says."""
    mean = mean_interval(values)
    if not any(values):
        move = "equal"
    elif mean.high < 0:
        move = "lower"
    else:
        move = "higher" if mean.low > 0 else "open"
    return {"change": mean.estimate, "low": mean.low, "high": mean.high, "move": move}


def _answers(cells: pl.DataFrame, pairs: Pairs) -> list[str]:
    count = dict(cells["move"].value_counts().iter_rows())
    parts = ", ".join(f"{move} in {count.get(move, 0)}" for move in MOVES)
    said = [
        f"Of {cells.height} cells ({', '.join(pairs.keys)}) the second's mean {pairs.value} is {parts}; "
        "lower and higher where the 95 % interval of the paired difference lies on one side of 0, equal "
        f"where every {pairs.unit} gives the same number."
    ]
    certain = cells.filter(pl.col("move").is_in(["lower", "higher"]))
    label = next((k for k in ("algorithm", "method", "setting") if k in pairs.keys), None)
    parts_of = certain.group_by(label, maintain_order=True) if label else [(("",), certain)]
    for (name,), rows in parts_of:
        if rows.height:
            row = rows.sort(pl.col("change").abs()).row(-1, named=True)
            where = ", ".join(f"{k} {_plain(row[k])}" for k in pairs.keys if k != label)
            said.append(
                f"{f'{name}: the' if label else 'The'} largest certain difference is {row['change']:+.3g}"
                f"{f', at {where}' if where else ''} ({short(row['a'])} → {short(row['b'])})."
            )
    return said


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _table(cells: pl.DataFrame, pairs: Pairs) -> Table:
    header = [*pairs.keys, f"{pairs.unit}s", "first", "second", "second − first", "verdict"]
    rows = [
        [
            *(_plain(row[key]) for key in pairs.keys), row["units"], short(row["a"]), short(row["b"]),
            _difference(row["change"], row["low"], row["high"]), row["move"],
        ]
        for row in cells.iter_rows(named=True)
    ]  # fmt: skip
    return Table(
        f"Mean {pairs.value} over what both finished, paired by {pairs.unit}", header, rows
    )


def _difference(change: float, low: float, high: float) -> str:
    half = (high - low) / 2
    return short(change) + (f" ±{short(half)}" if math.isfinite(half) else "")
