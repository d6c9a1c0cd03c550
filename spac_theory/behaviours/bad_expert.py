"""A mixture of a good expert and a bad one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.behaviours import BEHAVIOURS
from spac_theory.options import Options, number
from spac_theory.problems import Problem


@BEHAVIOURS.register("bad_expert")
@dataclass(frozen=True)
class BadExpert(Options):
    """`μ = (1 − dial) · good + dial · bad`, each with a share `noise` of uniform play.

    The good expert plays the best action, the bad one the worst.
    """

    noise: float = number(0.05, "share of uniform play in both experts", low=0, high=1)

    dial_name = "share of the bad expert"
    dial_range = (0.0, 1.0)

    def policy(self, problem: Problem, dial: float) -> Tensor:
        """The behaviour with a share `dial` in [0, 1] of the bad expert."""
        share = checks.number("dial", dial, low=0, high=1)
        reward = problem.bandit.reward
        worst = torch.nn.functional.one_hot(reward.argmin(-1), reward.shape[-1]).to(torch.float64)
        experts = (1 - share) * problem.bandit.optimal_policy + share * worst
        return (1 - self.noise) * experts + self.noise / reward.shape[-1]
