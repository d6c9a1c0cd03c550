"""A finite class: the true reward and random rivals, some close to it and some far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from spac_theory.bandit.contextual import ContextualBandit
from spac_theory.keys import generator
from spac_theory.options import Options, integer
from spac_theory.problems import PROBLEMS, Problem, uniform_profile
from spac_theory.rewards.finite import FiniteClass
from spac_theory.rewards.linear import one_hot_features


@PROBLEMS.register("finite")
@dataclass(frozen=True)
class Finite(Options):
    """`𝓡 = {r*, r_2, …, r_F}` in [0, 1]; a rival redraws each cell of `r*` with its own chance."""

    contexts: int = integer(10, "contexts X")
    actions: int = integer(10, "actions A, at least 2", low=2)
    members: int = integer(64, "how many rewards the class holds; the first is the truth")
    seed: int = integer(0, "draws the class", low=0)

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
