"""A table of independent random rewards."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from spac_theory import checks
from spac_theory.bandit.contextual import ContextualBandit
from spac_theory.keys import generator
from spac_theory.problems import PROBLEMS, Problem, uniform_profile
from spac_theory.rewards.linear import one_hot_features, tabular_class


@PROBLEMS.register("tabular")
@dataclass(frozen=True)
class Tabular:
    """Rewards uniform on [0, 1], uneven context weights.

    Attributes
    ----------
    contexts, actions : `X ≥ 1`, `A ≥ 2`
    norm_bound, reward_range : bounds of the class, either or both
    seed : draws rewards and context weights
    """

    contexts: int = 10
    actions: int = 10
    norm_bound: float | None = None
    reward_range: tuple[float, float] | None = (0.0, 1.0)
    seed: int = 0

    def __post_init__(self) -> None:
        checks.integer("contexts", self.contexts, low=1)
        checks.integer("actions", self.actions, low=2)
        checks.integer("seed", self.seed, low=0)

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
