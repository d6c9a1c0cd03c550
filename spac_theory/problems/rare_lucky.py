"""The rare lucky action: the problem on which maximum likelihood gets worse with more data.

Every context has one best action, one common action, and many rare ones that the data hardly
contain. Sooner or later a rare action wins the only comparison it ever had, and looks best.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from spac_theory.bandit.contextual import ContextualBandit
from spac_theory.keys import generator
from spac_theory.options import Options, integer, interval, number, positive
from spac_theory.problems import PROBLEMS, Problem
from spac_theory.rewards.linear import one_hot_features, tabular_class


@PROBLEMS.register("rare_lucky")
@dataclass(frozen=True)
class RareLucky(Options):
    """Rewards in [0, 1]: best 1, common 0.5, rare ones drawn uniformly from [0.2, 0.5]."""

    contexts: int = integer(10, "contexts X")
    actions: int = integer(
        10, "actions A of each context, at least 4; A − 2 of them are rare", low=4
    )
    rare_mass: float = number(
        0.025,
        "share of the behaviour on the rare actions, among all but the best one",
        low=0,
        high=1,
        open_low=True,
        open_high=True,
    )
    norm_bound: float | None = positive(
        None, "bound on the norm of the table of rewards; null for none", optional=True
    )
    reward_range: tuple[float, float] | None = interval(
        (0.0, 1.0), "bounds of every reward; null for none", optional=True
    )
    seed: int = integer(0, "draws the rare rewards and the places of the actions", low=0)

    def build(self) -> Problem:
        """Place the actions, draw the rare rewards."""
        rng = generator("problem", "rare_lucky", self.seed)
        shape = (self.contexts, self.actions)
        reward = torch.as_tensor(rng.uniform(0.2, 0.5, shape))
        places = torch.as_tensor(rng.permuted(torch.arange(self.actions).expand(shape), axis=1))
        rows, best, common = torch.arange(self.contexts), places[:, 0], places[:, 1]
        reward[rows, best], reward[rows, common] = 1.0, 0.5
        profile = torch.full(shape, self.rare_mass / (self.actions - 2), dtype=torch.float64)
        profile[rows, common] = 1 - float(self.rare_mass)
        profile[rows, best] = 0.0
        bandit = ContextualBandit(
            rho=torch.full((self.contexts,), 1 / self.contexts, dtype=torch.float64),
            features=one_hot_features(*shape),
            reward=reward,
            name=f"rare_lucky-{self.contexts}x{self.actions}-{self.rare_mass:g}-{self.seed}",
        )
        cls = tabular_class(*shape, norm_bound=self.norm_bound, reward_range=self.reward_range)
        return Problem(bandit, cls, profile)
