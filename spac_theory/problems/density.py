"""Contexts from a density: a problem that is finite on the prompts of each data set.

As a `Problem` it is its evaluation set, a large fixed set of contexts that no learner sees. How a learner is
given prompts of its own is in :mod:`spac_theory.learning.density`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.keys import generator
from spac_theory.links import Link
from spac_theory.objective import tabular_margins
from spac_theory.problems import Problem

MAX_PROMPTS = 200_000
Draw = Callable[[np.random.Generator, int], Problem]


@dataclass(frozen=True)
class ContinuousProblem(Problem):
    """A problem whose contexts come from a density.

    As a `Problem` it is its evaluation set: `bandit` has the fixed evaluation contexts with equal
    weights, so values, optimal policies and concentrability are estimates over that set.
    `draw(rng, X)` gives the same problem on `X` fresh contexts; `points (X, A, k)` are what policies
    are asked about.
    """

    known_contexts: ClassVar[bool] = False

    draw: Draw | None = None
    points: Tensor | None = None

    def on_prompts(self, n: int, *key: str | int) -> Problem:
        """The finite problem on `n` fresh prompts; the same key gives the same prompts."""
        checks.integer("n", n, low=1, high=MAX_PROMPTS)
        assert self.draw is not None
        return self.draw(generator("prompts", self.bandit.name, *key), n)


def standard_error(problem: Problem, policy: Tensor) -> Tensor:
    """Standard error of the suboptimality over the evaluation contexts, `(S, X, A) -> (S,)`."""
    reward = problem.bandit.reward
    gaps = (policy * (reward.amax(-1, keepdim=True) - reward)).sum(-1)
    return gaps.std(-1) / math.sqrt(gaps.shape[-1])


def draw_comparisons(
    problem: Problem, behaviour: Tensor, link: Link, *key: str | int
) -> WinnerCounts:
    """One comparison at each context of `problem`, two draws from `behaviour (X, A)`; `S = 1`."""
    contexts, actions = problem.bandit.shape
    rng = generator("comparisons", problem.bandit.name, *key)
    cumulative = behaviour.cumsum(-1)
    uniform = torch.as_tensor(rng.uniform(size=(contexts, 3)))
    first, second = (
        torch.searchsorted(cumulative, u.reshape(-1, 1).contiguous())
        .squeeze(-1)
        .clamp_max(actions - 1)
        for u in uniform.T[:2]
    )
    rows = torch.arange(contexts)
    wins = link.probability(tabular_margins(problem.bandit.reward))[rows, first, second]
    swap = uniform[:, 2] >= wins
    winner, loser = torch.where(swap, second, first), torch.where(swap, first, second)
    counts = torch.zeros(contexts, actions, actions, dtype=torch.int64)
    counts[rows, winner, loser] = 1
    return WinnerCounts(counts[None])
