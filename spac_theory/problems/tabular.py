"""A table of independent random rewards."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from spac_theory.bandit.contextual import ContextualBandit
from spac_theory.keys import generator
from spac_theory.options import Options, integer, interval, positive
from spac_theory.problems import PROBLEMS, Problem, uniform_profile
from spac_theory.rewards.linear import one_hot_features, tabular_class


@PROBLEMS.register("tabular")
@dataclass(frozen=True)
class Tabular(Options):
    """Rewards uniform on [0, 1], uneven context weights."""

    contexts: int = integer(10, "contexts X")
    actions: int = integer(10, "actions A, at least 2", low=2)
    norm_bound: float | None = positive(
        None, "bound on the norm of the table of rewards; null for none", optional=True
    )
    reward_range: tuple[float, float] | None = interval(
        (0.0, 1.0), "bounds of every reward; null for none", optional=True
    )
    seed: int = integer(0, "draws rewards and context weights", low=0)

    def build(self) -> Problem:
        """Draw rewards and context weights."""
        rng = generator("problem", "tabular", self.seed)
        shape = (self.contexts, self.actions)
        bandit = ContextualBandit(
            rho=torch.as_tensor(rng.dirichlet([5.0] * self.contexts)),
            features=one_hot_features(*shape),
            reward=torch.as_tensor(rng.uniform(0, 1, shape)),
            name=f"tabular-{self.contexts}x{self.actions}-{self.seed}",
        )
        cls = tabular_class(*shape, norm_bound=self.norm_bound, reward_range=self.reward_range)
        return Problem(bandit, cls, uniform_profile(*shape))
