"""Columns by other names: `data.columns` says what the file calls what is needed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spac_theory.checks import InputError, choice

KNOWN = ("prompt", "chosen", "rejected", "weight")


def renamed(rows: Sequence[Any], columns: Mapping[str, str] | None) -> list[Any]:
    """`rows` with `columns[name]` as `name`, for `name` among prompt, chosen, rejected and weight.

    Raises InputError for another name, and for a row that lacks the column it is given.
    """
    for name in columns or {}:
        choice("data.columns", name, KNOWN)
    if not columns:
        return list(rows)
    return [_row(row, number, columns) for number, row in enumerate(rows, start=1)]


def _row(row: Any, number: int, columns: Mapping[str, str]) -> Any:
    if not isinstance(row, Mapping):
        return row
    missing = next((theirs for theirs in columns.values() if theirs not in row), None)
    if missing is not None:
        raise InputError(
            f"Row {number} has no {missing!r}, which data.columns names; it has: "
            f"{', '.join(sorted(map(str, row)))}."
        )
    kept = {k: v for k, v in row.items() if k not in columns.values()}
    return kept | {name: row[theirs] for name, theirs in columns.items()}
