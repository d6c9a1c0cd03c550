"""A log as people keep it, brought to context, winner, loser and a weight; every repair is said."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from llm.data.judgements import Reading
from spac_theory import InputError

TRIPLE = ("context", "winner", "loser")
ARENA = ("model_a", "model_b", "winner")
NOBODY = "all"  # the context of a log that has none


def plural(count: int, word: str, many: str | None = None) -> str:
    """`1 context`, `2 contexts`."""
    return f"{count:,} {word if count == 1 else many or word + 's'}"


@dataclass(frozen=True)
class Tidy:
    """`table` with context, winner, loser and `weight`, in units of `1/unit` comparison; `notes` in words."""

    table: pl.DataFrame
    unit: int
    notes: list[str] = field(default_factory=list)


def tidy(source: str, table: pl.DataFrame, reading: Reading) -> Tidy:
    """Rename, complete and count a log. Raises InputError for what cannot be meant."""
    for ours, theirs in reading.mapped.items():
        if theirs not in table.columns:
            raise InputError(
                f"data {source!r} lacks the column {theirs!r} of reading.columns.{ours}."
            )
        table = table.drop(ours, strict=False).rename({theirs: ours}) if ours != theirs else table
    if set(ARENA) <= set(table.columns) and "loser" not in table.columns:
        table = _arena(table)
    notes: list[str] = []
    if "context" not in table.columns and {"winner", "loser"} <= set(table.columns):
        table = table.with_columns(context=pl.lit(NOBODY))
        notes.append("there is no column context, so all comparisons share one")
    _complete(source, table)
    table = table.with_columns(_plain(table[name], notes) for name in TRIPLE)
    return _weighted(table, reading, notes)


def _arena(table: pl.DataFrame) -> pl.DataFrame:
    """Battles `model_a, model_b, winner` as winners and losers; what is no win is a tie."""
    said = table["winner"].cast(pl.String).str.to_lowercase()
    known = said.str.contains(r"^(model_)?[ab]$|^tie").fill_null(False)
    if not known.all():
        row = int((~known).arg_max() or 0)
        raise InputError(
            f"data row {row + 1}: winner is {table['winner'][row]!r}; with model_a and model_b it must be "
            "model_a, model_b or tie."
        )
    first, second = table["model_a"], table["model_b"]
    b_won = said.str.ends_with("b")
    return table.with_columns(
        winner=pl.select(pl.when(b_won).then(second).otherwise(first)).to_series(),
        loser=pl.select(pl.when(b_won).then(first).otherwise(second)).to_series(),
        tie=said.str.starts_with("tie"),
    )


def _complete(source: str, table: pl.DataFrame) -> None:
    missing = [name for name in TRIPLE if name not in table.columns]
    if missing:
        raise InputError(
            f"data {source!r} lacks the column {missing[0]!r}; it needs the columns "
            "context, winner and loser (reading.columns names others)."
        )
    if table.is_empty():
        raise InputError(f"data {source!r} has no row; at least one comparison is needed.")
    for name in (*TRIPLE, *({"tie", "count"} & set(table.columns))):
        empty = table[name].is_null()
        if table[name].dtype.is_float():
            empty = empty | table[name].is_nan()
        if empty.any():
            raise InputError(
                f"data: column {name!r} has empty entries, first in row {int(empty.arg_max() or 0) + 1}; "
                "fill or drop those rows."
            )


def _plain(column: pl.Series, notes: list[str]) -> pl.Series:
    """Whole floats as whole numbers, names without white space around them."""
    name = column.name
    if column.dtype == pl.Int128:
        raise InputError(
            f"data: column {name!r} holds numbers beyond 2^63; write such names as text."
        )
    small = column.dtype.is_float() and bool((column.abs() < 2**53).all())
    if small and bool((column == column.round()).all()):
        return column.cast(pl.Int64)
    if column.dtype in (pl.Categorical, pl.Enum):
        column = column.cast(pl.String)
    if column.dtype != pl.String:
        return column
    bare = column.str.strip_chars()
    changed = int((bare != column).sum())
    if changed:
        notes.append(f"{plural(changed, 'name')} in {name} had white space around and lost it")
    alike = bare.n_unique() - bare.str.to_lowercase().n_unique()
    if alike:
        notes.append(
            f"{plural(alike, 'pair')} of names in {name} differing in case alone, taken as different"
        )
    return bare.rename(name)


def _weighted(table: pl.DataFrame, reading: Reading, notes: list[str]) -> Tidy:
    """Ties and counts as weights."""
    tie = _whole(table, "tie", 1) if "tie" in table.columns else pl.zeros(table.height, eager=True)
    count = (
        _whole(table, "count", 10**9)
        if "count" in table.columns
        else pl.ones(table.height, eager=True)
    )
    table = table.select(*TRIPLE, weight=count.cast(pl.Int64), tie=tie.cast(pl.Boolean))
    repeated = table.height - table.n_unique()
    if repeated and "count" not in table.columns:
        notes.append(
            f"{plural(repeated, 'repeated row')}, each taken as a comparison of its own: if they are copies "
            "rather than judgements, keep one of each, for certificates assume independent comparisons"
        )
    ties = int(table["tie"].sum())
    if not ties:
        return Tidy(table.filter(pl.col("weight") > 0), 1, notes)
    if reading.ties == "refuse":
        row = int(table["tie"].arg_max() or 0) + 1
        raise InputError(f"data row {row} is a tie; set reading.ties to half or drop.")
    won = table.filter(~pl.col("tie"))
    if reading.ties == "drop":
        notes.append(f"{plural(ties, 'tie')} dropped")
        return Tidy(won.filter(pl.col("weight") > 0), 1, notes)
    notes.append(f"{plural(ties, 'tie')} taken as half a win each way")
    even = table.filter(pl.col("tie"))
    turned = even.with_columns(winner=pl.col("loser"), loser=pl.col("winner"))
    whole = won.with_columns(weight=2 * pl.col("weight"))
    both = pl.concat([whole, even, turned.select(even.columns)])
    return Tidy(both.filter(pl.col("weight") > 0), 2, notes)


def _whole(table: pl.DataFrame, name: str, high: int) -> Any:
    """A column of whole numbers from 0 to `high`."""
    column = table[name]
    number = column.cast(pl.Float64, strict=False)
    good = (number == number.round()) & (number >= 0) & (number <= high)
    good = good.fill_null(False)
    if not good.all():
        row = int((~good).arg_max() or 0)
        wanted = "true or false" if high == 1 else f"a whole number from 0 to {high}"
        raise InputError(f"data row {row + 1}: {name} is {column[row]!r}; it must be {wanted}.")
    return number.cast(pl.Int64)
