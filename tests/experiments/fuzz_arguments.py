"""Good arguments of every public constructor, with one or two of them replaced by junk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spac_theory import (
    ALGORITHMS,
    BEHAVIOURS,
    PROBLEMS,
    ContextualBandit,
    Game,
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


CONSTRUCTORS: dict[str, Attempt] = {
    **{name: constructed(name) for name in GOOD},
    "registry.build": registered,
    "make_problem": problem,
}
