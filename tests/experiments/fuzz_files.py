"""Files and settings for every public reader, with cells, bytes or fields spoilt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from experiments.common import configuration
from experiments.engine.store import read_results
from experiments.studies.diagnosis.logs import Settings as LogSettings
from experiments.studies.diagnosis.logs import read_log
from experiments.studies.diagnosis.rows import RowSettings
from experiments.studies.diagnosis.rows import make_problem as make_row_problem
from experiments.studies.sweep.cells import Settings as SweepSettings
from llm.data import comparisons, formats, judgements, lines, validate
from llm.data.features import read_features

from .fuzz_arguments import Attempt, Rng, junk

FIELDS = (
    "context",
    "winner",
    "loser",
    "tie",
    "count",
    "prompt",
    "chosen",
    "rejected",
    "candidates",
    "weight",
    "margin",
    "answers",
    "ratings",
)
CELLS: tuple[Any, ...] = (
    0, 1, -1, 40000, 300_000_000, 2**62, 2**63, 2**70, 0.5, 1e300, None, True, "", "a", "b ", "A\u2028\x85",
    [], [1], {}, {"role": "user"}, [{"role": "user", "content": "q"}],
    [{"role": "assistant", "content": "y"}], [{"role": 3, "content": None}], ["a", "b"], "\ud800", "x" * 2000,
)  # fmt: skip
GOOD_ROWS = [{"context": i % 2, "winner": 1, "loser": 0} for i in range(4)]
ROW_SETTINGS = RowSettings(4, 0.2, 0, 1, 0)
GOOD_TEXTS = [{"prompt": f"q{i}", "chosen": "yes", "rejected": "no"} for i in range(4)]


def rows(rng: Rng, good: list[dict[str, Any]]) -> list[Any]:
    """Rows with one to three cells replaced or removed."""
    table: list[Any] = [dict(row) for row in good]
    for _ in range(int(rng.integers(1, 4))):
        i, name = int(rng.integers(len(table))), str(rng.choice(FIELDS))
        if rng.uniform() < 0.1:
            table[i] = CELLS[int(rng.integers(len(CELLS)))]
        elif isinstance(table[i], dict) and rng.uniform() < 0.2:
            table[i].pop(name, None)
        elif isinstance(table[i], dict):
            table[i][name] = CELLS[int(rng.integers(len(CELLS)))]
    return table


def written(rng: Rng, folder: Path, good: list[dict[str, Any]], kinds: tuple[str, ...]) -> Path:
    """A file of spoilt rows, with some bytes changed or cut in every second one."""
    table, kind = rows(rng, good), str(rng.choice(kinds))
    path = folder / f"rows.{kind}"
    if kind == "parquet":
        keep = [row for row in table if isinstance(row, dict)] or good
        try:
            pl.DataFrame(keep, strict=False).write_parquet(path)
        except (pl.exceptions.PolarsError, TypeError, OverflowError, UnicodeError):
            pl.DataFrame(good).write_parquet(path)
    elif kind == "csv":
        cells = [row.values() if isinstance(row, dict) else [row] for row in table]
        text = "\n".join([",".join(good[0]), *(",".join(map(str, row)) for row in cells)])
        path.write_bytes(text.encode(errors="surrogatepass"))
    else:
        ascii_only = bool(rng.integers(2))
        text = "\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in table)
        path.write_bytes(text.encode(errors="surrogatepass"))
    if rng.integers(2):
        damage(rng, path)
    return path


def damage(rng: Rng, path: Path) -> None:
    """Change some bytes of a file, or cut it."""
    content = bytearray(path.read_bytes())
    for _ in range(int(rng.integers(1, 4))):
        if content:
            content[int(rng.integers(len(content)))] = int(rng.integers(256))
    if rng.uniform() < 0.2:
        content = content[: int(rng.integers(len(content) + 1))]
    path.write_bytes(content)


LOG = dict.fromkeys(
    ("data", "features", "contexts", "actions", "reference", "baseline", "norm_bound")
)


def log(rng: Rng, folder: Path) -> object:
    """The reader of logged comparisons."""
    path = written(rng, folder, GOOD_ROWS, ("csv", "jsonl", "parquet"))
    reading = judgements.Reading(ties=str(rng.choice(["half", "drop", "refuse"])))
    values: dict[str, Any] = {
        **LOG,
        "algorithm": {},
        "reward_range": None,
        "delta": 0.1,
        "plugins": (),
    }
    size = None if rng.integers(2) else 2
    values |= {
        "data": str(path),
        "contexts": size,
        "actions": size,
        "reading": reading,
        "rows": None,
    }
    return read_log(LogSettings(**values))


def preferences(rng: Rng, folder: Path) -> object:
    """The reader of preference rows, in both of its forms."""
    path = written(rng, folder, GOOD_TEXTS, ("jsonl", "parquet"))
    if rng.integers(2):
        reading = judgements.Reading(duplicates=str(rng.choice(["drop", "keep"])))
        read = comparisons.read(str(path), reading)
        return make_row_problem(read, None, ROW_SETTINGS, None, 0.1)
    found = lines.read_lines("data", path)
    return [
        (formats.normalise(row, i), validate.weight_of(row, i)) for i, (_, row) in enumerate(found)
    ]


def features(rng: Rng, folder: Path) -> object:
    """The reader of features of answers."""
    said = [judgements.Judgement(f"q{i}", "yes", "no", 1.0, 1, "", "", "") for i in range(3)]
    data = comparisons.collect(said, judgements.Reading())
    columns: dict[str, Any] = {"key": data.keys(), "x": [0.5] * 6, "y": list(range(6))}
    for name in (str(n) for n in rng.choice(list(columns), int(rng.integers(0, 3)))):
        columns[name] = [*columns[name][1:], CELLS[int(rng.integers(len(CELLS)))]]
    path = folder / "features.parquet"
    try:
        pl.DataFrame(columns, strict=False).write_parquet(path)
    except (pl.exceptions.PolarsError, TypeError, OverflowError, UnicodeError):
        pl.DataFrame({"key": data.keys()}).write_parquet(path)
    if rng.integers(2):
        damage(rng, path)
    return read_features(str(path), data)


def configured(rng: Rng, folder: Path) -> object:
    """The reader of configurations."""
    kind = (SweepSettings, LogSettings)[int(rng.integers(2))]
    names = [*kind.__dataclass_fields__, "foo", 3]
    values = {
        names[int(rng.integers(len(names)))]: junk(rng) for _ in range(int(rng.integers(1, 9)))
    }
    return configuration.read(kind, values if rng.uniform() < 0.95 else junk(rng))


def results(rng: Rng, folder: Path) -> object:
    """The reader of results: a file that is none, or no longer whole."""
    path = folder / "results.parquet"
    pl.DataFrame({"algorithm": ["a", "b"], "n": [1, 2], "suboptimality": [0.5, 0.1]}).write_parquet(
        path
    )
    damage(rng, path)
    return read_results(path if rng.integers(2) else folder)


READERS: dict[str, Attempt] = {
    "log": log,
    "preference rows": preferences,
    "features of rows": features,
    "configuration.read": configured,
    "read_results": results,
}
