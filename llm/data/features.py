"""Features on disk: one row an answer, named by the hash of what prompt and answer say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.common.files import write_atomically
from llm.data.comparisons import Comparisons, canonical
from llm.files.digests import digest
from spac_theory.checks import InputError

KEY = "key"


def write_features(path: Path, keys: list[str], features: Tensor, facts: dict[str, Any]) -> None:
    """A Parquet file with `key` and a column an axis; `facts` go into its metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {f"f{i:04d}": column for i, column in enumerate(features.T.contiguous().numpy())}
    told = {str(name): str(value) for name, value in facts.items()}
    table = pa.table({KEY: keys, **columns}).replace_schema_metadata(told)
    write_atomically(path, lambda p: pq.write_table(table, p))


def read_features(path: str, data: Comparisons) -> Tensor:
    """`(N, D)` float64 of the answers of `data`, found by their keys.

    A file of one's own may hold `prompt` and `answer` in place of `key`; every other column is a number.
    Raises InputError for what is no such file and for answers it lacks.
    """
    keys, columns = _contents(path)
    place = {key: i for i, key in enumerate(keys)}
    wanted = data.keys()
    missing = [i for i, key in enumerate(wanted) if key not in place]
    if missing:
        raise InputError(
            f"features {path!r} lacks {len(missing)} of the {len(wanted)} answers (the first is "
            f"{data.answers[missing[0]]!r:.60}); make them from the same rows."
        )
    values = torch.from_numpy(np.stack(columns, 1))[[place[key] for key in wanted]]
    if not bool(torch.isfinite(values).all()):
        raise InputError(f"features {path!r} has NaN, empty or infinite entries.")
    return values


def _contents(path: str) -> tuple[list[str], list[np.ndarray]]:
    """The key of every line, and the columns of numbers."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = Path(path).expanduser()
    if file.suffix != ".parquet" or not file.is_file():
        raise InputError(
            f"features is {path!r}; it must be an existing .parquet file with one row an answer."
        )
    try:
        table = pq.read_table(file)
        return _keys(table, path), _numbers(table, path)
    except InputError:
        raise
    except (ValueError, OSError, pa.ArrowException) as error:  # damage may show at any touch
        told = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"features {path!r} cannot be read as Parquet: {told}.") from error


def _numbers(table: Any, path: str) -> list[np.ndarray]:
    names = [n for n in table.column_names if n not in (KEY, "prompt", "answer")]
    if not names:
        raise InputError(f"features {path!r} has no column of numbers.")
    try:
        return [np.asarray(table[n].to_numpy(), dtype=np.float64) for n in names]
    except (ValueError, TypeError, NotImplementedError) as error:
        raise InputError(f"features {path!r} has a column that holds no numbers.") from error


def _keys(table: Any, path: str) -> list[str]:
    if KEY in table.column_names:
        return list(table[KEY].to_pylist())
    if not {"prompt", "answer"} <= set(table.column_names):
        raise InputError(f"features {path!r} must have a column key, or prompt and answer.")
    pairs = zip(table["prompt"].to_pylist(), table["answer"].to_pylist(), strict=True)
    return [digest([digest(canonical(p)), canonical(str(a))]) for p, a in pairs]
