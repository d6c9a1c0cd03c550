"""A user's own files: logged comparisons, features, a reference policy. Every refusal names its field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from experiments.common.configuration import Count, Positive, Probability
from experiments.studies.diagnosis.rows import RowSettings
from experiments.studies.diagnosis.tidy import tidy
from llm.data.judgements import Reading
from spac_theory import InputError, WinnerCounts, checks

READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".parquet": pl.read_parquet,
    ".csv": pl.read_csv,
    ".jsonl": pl.read_ndjson,
}


LARGEST = 2**28  # entries of an array: 2 GiB
FILE_ROUNDING = 1e-5  # probabilities in files were rounded: to float32, or to a few digits


@dataclass(frozen=True)
class Settings:
    """The configuration `diagnose`."""

    algorithm: dict[str, Any]
    data: str | None
    features: str | None
    contexts: Count | None
    actions: Count | None
    reference: str | None
    baseline: str | None
    reward_range: tuple[float, float] | None
    norm_bound: Positive | None
    delta: Probability
    plugins: tuple[str, ...]
    reading: Reading
    rows: RowSettings


@dataclass(frozen=True)
class Log:
    """Winner counts of a log, `S = 1`, and what its contexts and actions are called."""

    counts: WinnerCounts
    contexts: list[Any]
    actions: list[Any]
    notes: list[str] = field(default_factory=list)


def read_table(field: str, path: str | None) -> pl.DataFrame:
    """A table from a .parquet, .csv or .jsonl file."""
    if not path:
        raise InputError(f"{field} is {path!r}; it must be a .parquet, .csv or .jsonl file.")
    place = Path(path).expanduser()
    if place.suffix not in READERS:
        raise InputError(f"{field} is {path!r}; it must end in .parquet, .csv or .jsonl.")
    if not place.is_file():
        raise InputError(f"{field} is {path!r}, which is no file; check the path.")
    try:
        return READERS[place.suffix](place)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        line = str(error).splitlines()[0]
        hint = f"; {not_utf8(place)}" if "utf" in line.lower() else ""
        raise InputError(
            f"{field} {path!r} cannot be read as {place.suffix[1:]}: {line.rstrip('.')}{hint}."
        ) from error


def not_utf8(path: Path) -> str:
    """Where a text file stops to be UTF-8, and what helps."""
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            where = f"line {number}, byte 0x{line[error.start]:02x}"
            return f"{where}: convert the file, for example with `iconv -f latin1 -t utf-8`"
    return "convert the file to UTF-8"


def read_log(settings: Settings) -> Log:
    """The comparisons of `settings.data`; `contexts` and `actions` are sizes, null to infer them.

    Whole numbers are indices from 0, but names where fewer than half of the indices up to the largest
    occur and no size is given; names (strings too) are numbered in their order.
    """
    table = read_table("data", settings.data)
    told = tidy(str(settings.data), table, settings.reading)
    table = told.table
    if table.is_empty():
        raise InputError(f"data {settings.data!r} has no comparison left; all are ties or count 0.")
    context, contexts = _coded("context", [table["context"]], settings.contexts)
    both, actions = _coded("action", [table["winner"], table["loser"]], settings.actions)
    if len(actions) < 2:
        raise InputError(f"data names {len(actions)} action; at least two are needed.")
    if len(contexts) * len(actions) ** 2 > LARGEST:
        raise InputError(
            f"data names {len(contexts)} contexts and {len(actions)} actions; their table of pairs is "
            "too large. If contexts share no actions, write prompt, chosen, rejected for context, winner, "
            "loser in a .jsonl or .parquet file: each prompt then has answers of its own."
        )
    counts = WinnerCounts.from_triples(
        context[0],
        both[0],
        both[1],
        contexts=len(contexts),
        actions=len(actions),
        weight=table["weight"].to_numpy(),
        unit=told.unit,
    )
    return Log(counts, contexts, actions, told.notes)


def _coded(field: str, columns: list[pl.Series], size: Any) -> tuple[list[np.ndarray], list[Any]]:
    """Columns as indices, with the names behind them."""
    if size is not None:
        size = checks.integer(f"{field}s", size, low=1)
    words = all(column.dtype == pl.String for column in columns)
    if words or (size is None and _sparse(columns)):
        names = sorted(set().union(*(column.unique().to_list() for column in columns)))
        if size is not None and size != len(names):
            raise InputError(
                f"{field}s is {size}, but the data name {len(names)}; leave it null for names."
            )
        place = {name: i for i, name in enumerate(names)}
        return [np.array([place[v] for v in column]) for column in columns], names
    arrays = [column.to_numpy() for column in columns]
    if not all(np.issubdtype(array.dtype, np.integer) for array in arrays):
        raise InputError(f"data: {field}s must be all whole numbers or all strings.")
    lowest = min(int(array.min()) for array in arrays)
    if lowest < 0:
        raise InputError(f"data has the {field} {lowest}; indices are whole numbers from 0.")
    top = max(int(array.max()) for array in arrays) + 1
    return arrays, list(range(size or max(top, 1)))


def _sparse(columns: list[pl.Series]) -> bool:
    """Whether whole numbers are names: fewer than half of the indices up to the largest occur."""
    if not all(column.dtype.is_integer() for column in columns):
        return False
    together = pl.concat([column.cast(pl.Int64, strict=False) for column in columns]).drop_nulls()
    values = together.unique().to_list()
    return min(values) >= 0 and max(values) >= max(16, 2 * len(values))


def read_array(field: str, path: str, shape: tuple[int | None, ...]) -> Tensor:
    """The first array of an .npz (or the array of an .npy) file, checked for its shape."""
    place = Path(path).expanduser()
    if place.suffix not in (".npz", ".npy") or not place.is_file():
        raise InputError(f"{field} is {path!r}; it must be an existing .npz, .npy or table file.")
    try:
        loaded = np.load(place, allow_pickle=False)
        array = loaded if place.suffix == ".npy" else loaded[loaded.files[0]]
    except (ValueError, OSError, IndexError) as error:
        raise InputError(f"{field} {path!r} cannot be read: {error}.") from error
    return checks.as_tensor(field, array, shape)


def read_cells(field: str, path: str, log: Log, values: list[str] | None) -> Tensor:
    """A table with one row a (context, action) as a tensor `(X, A, columns)`; every cell once."""
    table = read_table(field, path)
    values = values or [name for name in table.columns if name not in ("context", "action")]
    lacking = [name for name in ("context", "action", *values) if name not in table.columns]
    if lacking or not values:
        raise InputError(
            f"{field} {path!r} lacks the column {(lacking or ['of numbers'])[0]!r}; it needs context, "
            "action and its values."
        )
    places = [{name: i for i, name in enumerate(names)} for names in (log.contexts, log.actions)]
    rows = [places[0].get(v) for v in table["context"]]
    columns = [places[1].get(v) for v in table["action"]]
    cells = set(zip(rows, columns, strict=True))
    expected = len(log.contexts) * len(log.actions)
    if None in rows or None in columns or len(cells) != expected or table.height != expected:
        raise InputError(
            f"{field} {path!r} must name every one of the {expected} (context, action) cells once."
        )
    result = torch.zeros(len(log.contexts), len(log.actions), len(values), dtype=torch.float64)
    content = checks.as_tensor(field, table.select(values).to_numpy(), (expected, len(values)))
    result[torch.tensor(rows), torch.tensor(columns)] = content
    return result


def read_features(path: str | None, log: Log) -> Tensor | None:
    """`φ (X, A, d)` from an .npz or a table; None for a table of rewards."""
    if path is None:
        return None
    shape = (len(log.contexts), len(log.actions))
    if Path(path).suffix in READERS:
        return read_cells("features", path, log, None)
    return read_array("features", path, (*shape, None))


def read_policy(field: str, path: str, log: Log) -> Tensor:
    """A policy `(X, A)` from an .npz or a table with a column `probability`."""
    shape = (len(log.contexts), len(log.actions))
    if Path(path).suffix in READERS:
        policy = read_cells(field, path, log, ["probability"])[..., 0]
    else:
        policy = read_array(field, path, shape)
    return checks.probabilities(field, policy, shape, FILE_ROUNDING)
