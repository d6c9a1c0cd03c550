"""Random games and settings, deterministic by index, for everything that needs many of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spac_theory import (
    BRADLEY_TERRY,
    Game,
    LearnerView,
    LinearClass,
    PreferenceModel,
    WinnerCounts,
    pair_law,
    sample_winner_counts,
    tabular_class,
    winner_law,
)
from spac_theory.keys import generator
from spac_theory.links import Link

KINDS = [
    (tabular, bounds, rho)
    for rho in ("full", "zeros")
    for tabular in (True, False)
    for bounds in ("ball", "range", "both")
]


def random_simplex(rng: np.random.Generator, *shape: int, sparse: bool = False) -> Tensor:
    """Random distributions along the last axis; `sparse` ones have exact zeros."""
    table = rng.dirichlet(np.full(shape[-1], 0.2 if sparse else 1.0), shape[:-1])
    if sparse:
        table = np.where(table < 0.02, 0.0, table)
    return torch.from_numpy(table / table.sum(-1, keepdims=True))


def random_class(
    rng: np.random.Generator, contexts: int, actions: int, tabular: bool, bounds: str
) -> LinearClass:
    """A table or random features (d ≤ 12) with a ball, a range, or both."""
    norm = float(rng.uniform(0.5, 4))
    low, high = sorted(rng.uniform(-2, 2, 2).tolist())
    if tabular:
        if bounds == "both":  # the ball must meet the range
            low, high, norm = -abs(low) - 0.1, abs(high) + 0.1, norm + 1
        span = None if bounds == "ball" else (low, high + 0.2)
        return tabular_class(contexts, actions, None if bounds == "range" else norm, span)
    dimension = min(int(rng.integers(1, 13)), contexts * actions)
    features = torch.from_numpy(rng.standard_normal((contexts, actions, dimension)))
    span = None if bounds == "ball" else (-abs(low) - 0.2, abs(high) + 0.2)
    return LinearClass(features, None if bounds == "range" else norm, span)


def random_member(rng: np.random.Generator, cls: LinearClass, count: int = 1) -> Tensor:
    """Random members of the class, `(count, X, A)`: random directions pushed towards the bounds."""
    inside = cls.interior
    low, high = cls.reward_range or (-math.inf, math.inf)
    members = []
    for _ in range(count):
        direction = torch.from_numpy(rng.standard_normal(cls.dimension))
        size = 10.0 * cls.radius / float(direction.norm())
        for _ in range(60):
            theta = inside + size * direction
            reward = (cls.features @ theta).reshape(cls.shape)
            small = float(theta.norm()) <= cls.norm_limit
            if small and float(reward.min()) >= low and float(reward.max()) <= high:
                break
            size *= 0.8
        members.append(cls.features @ (inside + rng.uniform(0, 1) * size * direction))
    return torch.stack(members)


def random_lambda(rng: np.random.Generator, n: int) -> float:
    """0 in one game of six, else anything up to `5 √n`."""
    return 0.0 if rng.uniform() < 1 / 6 else float(10 ** rng.uniform(-2, math.log10(5 * n**0.5)))


def random_game(
    index: int,
    seeds: int = 1,
    kind: tuple[bool, str, str] | None = None,
    max_contexts: int = 20,
    max_actions: int = 8,
    link: Link = BRADLEY_TERRY,
    n: int | None = None,
) -> Game:
    """Game number `index`: X ≤ 20, A ≤ 8, d ≤ 12, n from 10 to 1e6, every kind in turn."""
    rng = generator("test game", index)
    tabular, bounds, zeros = KINDS[index % len(KINDS)] if kind is None else kind
    contexts = int(rng.integers(1, max_contexts + 1))
    actions = int(rng.integers(2, max_actions + 1))
    cls = random_class(rng, contexts, actions, tabular, bounds)
    rho = random_simplex(rng, contexts, sparse=zeros == "zeros")
    behaviour = random_simplex(rng, contexts, actions, sparse=index % 3 == 0)
    size = int(10 ** rng.uniform(1, 6)) if n is None else n
    truth = random_member(rng, cls)[0]
    law = winner_law(rho, pair_law(behaviour), PreferenceModel.from_reward(truth, link))
    data = sample_winner_counts(law, size, range(seeds), "test game", str(index))
    baseline = behaviour if index % 2 else random_simplex(rng, contexts, actions)
    lam = torch.tensor([random_lambda(rng, size) for _ in range(seeds)], dtype=torch.float64)
    return Game(cls, data, lam, rho, baseline, link)


def random_setting(
    index: int, seeds: int = 3, n: int = 200, tabular: bool = True, **view: Any
) -> tuple[LearnerView, WinnerCounts]:
    """What an algorithm receives, on a small problem: a view and `seeds` data sets."""
    game = random_game(index, seeds, (tabular, "ball", "full"), 4, 4, n=n)
    rng = generator("test reference", index)
    reference = random_simplex(rng, *game.reward_class.shape)
    options = {"reference": reference, "baseline": game.baseline, "rho": game.rho, **view}
    return LearnerView(game.reward_class, **options), game.data


def random_policies(rng: np.random.Generator, game: Game, count: int) -> Tensor:
    """Random policies `(count, X, A)`, half of them deterministic."""
    contexts, actions = game.reward_class.shape
    soft = random_simplex(rng, count - count // 2, contexts, actions)
    picks = torch.from_numpy(rng.integers(0, actions, (count // 2, contexts)))
    hard = torch.nn.functional.one_hot(picks, actions).to(torch.float64)
    return torch.cat([soft, hard])
