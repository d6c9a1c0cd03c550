"""Games of every class at every scale, drawn to break the solvers; deterministic by kind and index.

`n` runs from 1 to 1e12, `λ` from 1e-8 to 1e8, bounds over three orders; preferences are ordinary,
weak, separable or empty (nothing but draws of an action with itself, or a single pair).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from experiments.claims.games.instances import random_simplex
from spac_theory import (
    Game,
    LinearClass,
    PreferenceModel,
    WinnerCounts,
    pair_law,
    tabular_class,
    winner_law,
)
from spac_theory.keys import generator
from spac_theory.rewards.base import RewardClass
from spac_theory.rewards.finite import FiniteClass
from spac_theory.rewards.kernel import KernelClass, matern, polynomial, rbf

KINDS = (
    "table range", "table ball", "table both", "linear ball", "linear range", "linear both",
    "kernel", "finite",
)  # fmt: skip
PREFERENCES = ("ordinary", "weak", "separable", "empty")


def _features(rng: np.random.Generator, contexts: int, actions: int) -> Tensor:
    """Random features; one in four has a common column, one in four is rank deficient or uneven."""
    d = int(rng.integers(1, min(7, contexts * actions + 1)))
    features = rng.standard_normal((contexts, actions, d))
    fault = rng.integers(8)
    if fault == 0:
        features[..., 0] = 1.0  # cancels in every difference
    elif fault == 1 and d > 1:
        features[..., -1] = features[..., 0]
    elif fault == 2:
        features *= 10.0 ** rng.uniform(-2, 2, d)
    elif fault == 3:
        features[:, -1] = features[:, 0]
    return torch.from_numpy(features)


def draw_class(kind: str, rng: np.random.Generator, contexts: int, actions: int) -> RewardClass:
    """A class of `kind` whose bounds are of a random order between 0.03 and 30."""
    size = float(10 ** rng.uniform(-1.5, 1.5))
    span = (-size * float(rng.uniform(0.1, 1)), size)
    norm = float(10 ** rng.uniform(-1.5, 1.5))
    if kind == "finite":
        members = rng.uniform(-size, size, (int(rng.integers(1, 33)), contexts, actions))
        return FiniteClass(torch.from_numpy(members))
    if kind.startswith("table"):
        bounds = {"range": (None, span), "ball": (norm, None), "both": (norm, span)}
        return tabular_class(contexts, actions, *bounds[kind.split()[1]])
    features = _features(rng, contexts, actions)
    if kind == "kernel":
        options = (rbf(1.0), matern(1.5, 2.0), polynomial(2))
        return KernelClass.of(features, options[int(rng.integers(3))], norm)
    if kind == "linear range":
        rank = int(torch.linalg.matrix_rank(features.flatten(0, 1)))
        if rank < features.shape[-1]:  # a range alone must bound the parameters
            features = torch.from_numpy(rng.standard_normal((contexts, actions, rank)))
        return LinearClass(features, None, span)
    return LinearClass(features, norm, span if kind == "linear both" else None)


def _rewards(kind: str, rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """True rewards of one lane for a kind of preference."""
    size = {"ordinary": 1.0, "weak": 10.0 ** rng.uniform(-6, -1), "separable": 1e3, "empty": 1.0}
    zero = kind == "weak" and rng.uniform() < 0.5
    return np.zeros(shape) if zero else size[kind] * rng.standard_normal(shape)


def _wins(rng: np.random.Generator, preference: str, rho: Tensor, actions: int, n: int) -> Tensor:
    """Winner counts of one lane."""
    contexts = len(rho)
    reward = torch.from_numpy(_rewards(preference, rng, (contexts, actions)))
    behaviour = random_simplex(rng, contexts, actions, sparse=bool(rng.uniform() < 0.3))
    law = winner_law(rho, pair_law(behaviour), PreferenceModel.from_reward(reward))
    if preference == "empty":
        law = torch.diag_embed(law.diagonal(dim1=-2, dim2=-1))
        if rng.uniform() < 0.5:  # or a single pair, one way or both
            law = torch.zeros_like(law)
            x = int(rng.integers(contexts))
            law[x, 0, 1] = 1.0
            law[x, 1, 0] = float(rng.integers(2))
    cells = law.flatten().numpy()
    if cells.sum() == 0:
        cells = np.ones_like(cells)
    return torch.from_numpy(rng.multinomial(n, cells / cells.sum())).reshape(law.shape)


def _policies(rng: np.random.Generator, lanes: int, contexts: int, actions: int) -> Tensor:
    """Policies for the critic: half of them deterministic."""
    soft = random_simplex(rng, lanes, contexts, actions)
    hard = torch.nn.functional.one_hot(soft.argmax(-1), actions).to(torch.float64)
    return torch.where(torch.from_numpy(rng.uniform(size=lanes) < 0.5)[:, None, None], soft, hard)


@dataclass(frozen=True)
class Batch:
    """Games that share a class, and a policy for the critic of each."""

    game: Game
    policies: Tensor


def draw_batch(kind: str, index: int, lanes: int) -> Batch:
    """Batch `index` of a kind: X ≤ 5, A ≤ 5, one `n`, `λ` and kind of preference a lane."""
    rng = generator("fuzz", kind, index)
    contexts, actions = int(rng.integers(1, 6)), int(rng.integers(2, 6))
    cls = draw_class(kind, rng, contexts, actions)
    rho = random_simplex(rng, contexts, sparse=bool(rng.uniform() < 0.3))
    baseline = random_simplex(rng, contexts, actions, sparse=bool(rng.uniform() < 0.3))
    wins, lam = [], []
    for lane in range(lanes):
        n = int(10 ** rng.uniform(0, 12))
        wins.append(_wins(rng, PREFERENCES[lane % len(PREFERENCES)], rho, actions, n))
        share = rng.uniform()
        lam.append(0.0 if share < 0.03 else n**0.5 if share < 0.4 else 10 ** rng.uniform(-8, 8))
    game = Game(cls, WinnerCounts(torch.stack(wins)), torch.tensor(lam), rho, baseline)
    return Batch(game, _policies(rng, lanes, contexts, actions))
