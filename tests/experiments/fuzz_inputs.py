"""Random malformed inputs to every public reader and constructor: `python -m tests.experiments.fuzz_inputs`.

An input is a good one with one or two of its parts replaced, or a file with some of its bytes changed. A
reader must take it, or refuse it in a sentence (InputError; NotANumber for a bound): anything else is a
finding.
"""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from experiments.common import configuration
from experiments.engine.store import read_results
from experiments.studies.diagnosis.logs import Settings as LogSettings
from experiments.studies.diagnosis.logs import read_log
from experiments.studies.diagnosis.rows import RowSettings
from experiments.studies.diagnosis.rows import make_problem as make_row_problem
from experiments.studies.sweep.cells import Settings as SweepSettings
from llm.data import comparisons, formats, judgements, lines, validate
from llm.data.features import read_features
from spac_theory import (
    ALGORITHMS,
    BEHAVIOURS,
    PROBLEMS,
    ContextualBandit,
    Game,
    InputError,
    LearnerView,
    LinearClass,
    PreferenceModel,
    WinnerCounts,
    make_algorithm,
    make_behaviour,
    make_problem,
    sample_winner_counts,
    statistics,
    tabular_class,
)
from spac_theory.bounds import upper
from spac_theory.checks import NotANumber
from spac_theory.rewards.finite import FiniteClass

Rng = np.random.Generator
Attempt = Callable[[Rng, Path], object]

X, A, D, S = 2, 3, 2, 2
SHAPES = (
    (),
    (0,),
    (1,),
    (3,),
    (0, 3),
    (X, A),
    (A, X),
    (X, A, A),
    (X, A, 0),
    (S, X, A, A),
    (1, 1, 1, 1),
)
TYPES = (
    torch.float64,
    torch.float32,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
    torch.complex64,
)
SCALARS: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 0.5, -0.0, 1e-300, 1e300, 2**53, 2**62, 2**63, 2**70, 10**400,
    float("nan"), float("inf"), -float("inf"), "", "abc", "1", "ü\u2028", b"x", [], [1], [[1, 2], [3]], {},
    {"a": 1}, (1, 2), (2, 1), (0, 0), (float("nan"), 1), ("a", "b"), (-1.0, 1.0), (None, None), object, 1j,
    np.float32(0.3), np.int8(3), np.array(3), np.array(["a"]), np.array([None]), np.array([], float), {1},
    np.datetime64("2020-01-01"), range(3), [0.2, 0.8], [0, 1], [1.5], ["a"], [None], [True], [2**70],
)  # fmt: skip


def junk(rng: Rng) -> Any:
    """A value that is likely to be wrong: a scalar, a container, an array or a tensor."""
    kind = rng.uniform()
    if kind < 0.5:
        return SCALARS[int(rng.integers(len(SCALARS)))]
    shape = SHAPES[int(rng.integers(len(SHAPES)))]
    scale = float(rng.choice([0.0, 1.0, 3.0, 1e9, 1e200]))
    values = torch.from_numpy(np.asarray(rng.normal(size=shape) * scale))
    if rng.uniform() < 0.2 and values.numel():
        values.view(-1)[0] = float(rng.choice([np.nan, np.inf, -np.inf]))
    if kind < 0.6:
        return values.numpy()
    if kind < 0.65:
        return values.tolist()
    tensor = values if kind < 0.8 else values.abs()
    if rng.uniform() < 0.3 and tensor.ndim:
        tensor = tensor.softmax(-1)
    return tensor.to(TYPES[int(rng.integers(len(TYPES)))])


def spoilt(rng: Rng, good: dict[str, Any]) -> dict[str, Any]:
    """Good arguments with one or two of them replaced."""
    names = rng.choice(list(good), size=min(len(good), int(rng.integers(1, 3))), replace=False)
    return {**good, **{str(name): junk(rng) for name in names}}


def _uniform(*shape: int) -> torch.Tensor:
    return torch.full(shape, 1 / shape[-1], dtype=torch.float64)


def _features() -> torch.Tensor:
    return torch.arange(X * A * D, dtype=torch.float64).sin().reshape(X, A, D)


WINS = torch.arange(S * X * A * A).reshape(S, X, A, A)
TABLE = tabular_class(X, A, reward_range=(-1.0, 1.0))
SIZE = upper.finite_complexity(5, torch.tensor([100, 1000]), 0.1)
PLAIN = [0.1 * i for i in range(30)]
ROWS = np.abs(np.sin(np.arange(60.0))).reshape(30, 2) + 0.1
TRIPLES = {"context": [0, 1], "winner": [0, 1], "loser": [1, 2], "contexts": X, "actions": A}
GOOD: dict[str, tuple[Callable[..., object], dict[str, Any]]] = {
    "WinnerCounts": (WinnerCounts, {"wins": WINS, "unit": 1}),
    "WinnerCounts.from_triples": (
        WinnerCounts.from_triples,
        {**TRIPLES, "weight": [1, 1], "unit": 1},
    ),
    "WinnerCounts.split": (WinnerCounts(WINS).split, {"share": 0.5}),
    "sample_winner_counts": (
        sample_winner_counts,
        {"law": torch.full((X, A, A), 1 / (X * A * A), dtype=torch.float64)}
        | {"n": 50, "seeds": range(2)},
    ),
    "PreferenceModel": (PreferenceModel, {"probability": torch.full((X, A, A), 0.5)}),
    "ContextualBandit": (
        ContextualBandit,
        {"rho": _uniform(X), "features": _features(), "reward": _features()[..., 0]},
    ),
    "LinearClass": (
        LinearClass,
        {"features": _features(), "norm_bound": 1.0, "reward_range": (-1.0, 1.0)},
    ),
    "tabular_class": (
        tabular_class,
        {"contexts": X, "actions": A, "norm_bound": None, "reward_range": (0.0, 1.0)},
    ),
    "FiniteClass": (FiniteClass, {"members": _features().permute(2, 0, 1)}),
    "LearnerView": (
        LearnerView,
        {"reward_class": TABLE, "rho": _uniform(X), "reference": _uniform(X, A)}
        | {"baseline": _uniform(X, A), "delta": 0.1},
    ),
    "Game": (
        Game,
        {"reward_class": TABLE, "data": WinnerCounts(WINS), "lam": 3.0, "rho": _uniform(X)}
        | {"baseline": _uniform(X, A)},
    ),
    "finite_complexity": (
        upper.finite_complexity,
        {"members": 5, "n": torch.tensor([100]), "delta": 0.1},
    ),
    "covering_complexity": (
        upper.covering_complexity,
        {"reward_class": TABLE, "n": torch.tensor([100]), "delta": 0.1},
    ),
    "oracle_lambda": (
        upper.oracle_lambda,
        {"difference_bound": 1.0, "concentrability": 2.0, "size": SIZE},
    ),
    "upper_bound": (
        upper.upper_bound,
        {"difference_bound": 1.0, "concentrability": 2.0, "size": SIZE}
        | {"lam": torch.tensor([1.0, 2.0]), "gap": 0.0},
    ),
    "best_upper_bound": (
        upper.best_upper_bound,
        {"difference_bound": 1.0, "concentrability": 2.0, "size": SIZE},
    ),
    "mean_interval": (
        statistics.mean_interval,
        {"samples": PLAIN, "level": 0.9, "replicates": 20},
    ),
    "difference_interval": (
        statistics.difference_interval,
        {"first": PLAIN, "second": PLAIN[::-1], "level": 0.9, "replicates": 20},
    ),
    "quantile_interval": (
        statistics.quantile_interval,
        {"samples": PLAIN, "probability": 0.5, "level": 0.9},
    ),
    "clopper_pearson": (statistics.clopper_pearson, {"events": 3, "trials": 10, "level": 0.9}),
    "log_log_slope": (
        statistics.log_log_slope,
        {"n": [10, 100], "samples": ROWS, "level": 0.9, "replicates": 20},
    ),
    "local_slopes": (
        statistics.local_slopes,
        {"n": [10, 100], "samples": ROWS, "level": 0.9, "replicates": 20},
    ),
}


def constructed(name: str) -> Attempt:
    """Call a constructor with spoilt arguments."""
    make, good = GOOD[name]
    return lambda rng, folder: make(**spoilt(rng, good))


def registered(rng: Rng, folder: Path) -> object:
    """An algorithm or behaviour with spoilt options."""
    make: Callable[..., object]
    registry: Any
    make, registry = [(make_algorithm, ALGORITHMS), (make_behaviour, BEHAVIOURS)][rng.integers(2)]
    name = str(rng.choice([*registry, "nobody"]))
    fields = getattr(registry[name] if name != "nobody" else None, "__dataclass_fields__", {})
    options = [*fields, "foo"]
    return make(name, **{str(rng.choice(options)): junk(rng) for _ in range(2)})


def problem(rng: Rng, folder: Path) -> object:
    """A problem with a spoilt option; sizes stay small, since building is real work."""
    name = str(rng.choice(list(PROBLEMS)))
    options = [*getattr(PROBLEMS[name], "__dataclass_fields__", {}), "foo"]
    return make_problem(name, **{str(rng.choice(options)): junk(rng)})


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


ATTEMPTS: dict[str, Attempt] = {
    **{name: constructed(name) for name in GOOD},
    "registry.build": registered,
    "make_problem": problem,
    "log": log,
    "preference rows": preferences,
    "features of rows": features,
    "configuration.read": configured,
    "read_results": results,
}


def outcome(attempt: Attempt, rng: Rng, folder: Path) -> str:
    """Taken, refused, or the finding."""
    try:
        attempt(rng, folder)
    except (InputError, NotANumber) as error:
        return (
            "refused" if str(error).strip().endswith(".") else f"no sentence: {str(error)[:90]!r}"
        )
    except (Exception, pl.exceptions.PanicException) as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        ours = [
            f
            for f in traceback.extract_tb(error.__traceback__)
            if "site-packages" not in f.filename
        ]
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else where.filename
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''!s:.90} ({place})"
    return "taken"


def fuzz(count: int, seed: int = 0) -> dict[str, Counter[str]]:
    """Outcomes of `count` inputs, spread evenly over the readers."""
    found = {name: Counter[str]() for name in ATTEMPTS}
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in range(count):
            name = list(ATTEMPTS)[i % len(ATTEMPTS)]
            found[name][outcome(ATTEMPTS[name], rng, Path(place))] += 1
    return found


def findings(found: dict[str, Counter[str]]) -> list[str]:
    """What was neither taken nor refused in a sentence."""
    return [
        f"{times} × {name}: {what}"
        for name, counts in found.items()
        for what, times in counts.most_common()
        if what not in ("taken", "refused")
    ]


def main(count: int, seed: int) -> int:
    """Print the counts of every reader, then the findings; 0 without any."""
    found = fuzz(count, seed)
    for name, counts in found.items():
        rest = sum(counts.values()) - counts["taken"] - counts["refused"]
        print(
            f"{name:26} taken {counts['taken']:5} refused {counts['refused']:5} findings {rest:4}"
        )
    told = findings(found)
    print(*told, sep="\n")
    return bool(told)


if __name__ == "__main__":
    words = [int(word) for word in sys.argv[1:]]
    sys.exit(main(words[0] if words else 1000, words[1] if len(words) > 1 else 0))
