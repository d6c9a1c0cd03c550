"""A finite class: the true reward and random rivals, some close to it and some far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from spac_theory import checks
from spac_theory.bandit.contextual import ContextualBandit
from spac_theory.keys import generator
from spac_theory.problems import PROBLEMS, Problem, uniform_profile
from spac_theory.rewards.finite import FiniteClass
from spac_theory.rewards.linear import one_hot_features


@PROBLEMS.register("finite")
@dataclass(frozen=True)
class Finite:
    """`𝓡 = {r*, r_2, …, r_F}` in [0, 1]; a rival redraws each cell of `r*` with its own chance.

    Attributes
    ----------
    contexts, actions, members : `X ≥ 1`, `A ≥ 2`, `F ≥ 1`
    seed : draws the class; its first member is the truth
    """

    contexts: int = 10
    actions: int = 10
    members: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        checks.integer("contexts", self.contexts, low=1)
        checks.integer("actions", self.actions, low=2)
        checks.integer("members", self.members, low=1)
        checks.integer("seed", self.seed, low=0)

    def build(self) -> Problem:
        """Draw the truth and its rivals."""
        rng = generator("problem", "finite", self.seed)
        shape = (self.contexts, self.actions)
        truth = rng.uniform(0, 1, shape)
        chance = rng.uniform(0.05, 1, (self.members, 1, 1))
        redrawn = rng.uniform(0, 1, (self.members, *shape)) < chance
        members = np.where(redrawn, rng.uniform(0, 1, (self.members, *shape)), truth)
        members[0] = truth
        bandit = ContextualBandit(
            rho=torch.full((self.contexts,), 1 / self.contexts, dtype=torch.float64),
            features=one_hot_features(*shape),
            reward=torch.as_tensor(truth),
            name=f"finite-{self.contexts}x{self.actions}x{self.members}-{self.seed}",
        )
        return Problem(bandit, FiniteClass(torch.as_tensor(members)), uniform_profile(*shape))
