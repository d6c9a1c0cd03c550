"""DPO by gradient, as networks are trained: the number of steps is the tie-break (see :mod:`.dpo`)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from spac_theory import checks
from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.likelihood import NEEDS_LINEAR, tilted_policy
from spac_theory.objective import tabular_preference_gradient
from spac_theory.rewards.linear import LinearClass
from spac_theory.view import Fit, LearnerView, Oracle


@ALGORITHMS.register("dpo_gradient")
@dataclass(frozen=True)
class DpoGradient:
    """The DPO loss by Adam on the policy's logits from `π_ref`, as networks are trained.

    Attributes
    ----------
    beta : `β > 0`
    steps, learning_rate : full-batch Adam steps; the number of steps is the tie-break
    """

    beta: float = 0.1
    steps: int = 500
    learning_rate: float = 0.1

    def __post_init__(self) -> None:
        checks.number("beta", self.beta, low=0, open_low=True)
        checks.integer("steps", self.steps, low=1)
        checks.number("learning_rate", self.learning_rate, low=0, open_low=True)

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Needs features."""
        return None if isinstance(view.reward_class, LinearClass) else NEEDS_LINEAR

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Train all data sets at once; parameters are logits relative to `log π_ref`."""
        assert isinstance(view.reward_class, LinearClass)
        design, fraction = view.reward_class.design, data.fraction
        theta = torch.zeros(len(fraction), design.parameters, dtype=torch.float64)
        optimiser = torch.optim.Adam([theta], lr=self.learning_rate)
        for _ in range(self.steps):
            implicit = self.beta * design.forward(theta)
            slope = tabular_preference_gradient(implicit, fraction, view.link)
            theta.grad = self.beta * design.adjoint(slope)
            optimiser.step()
        logits = design.forward(theta)
        policy = tilted_policy(view, logits, theta, 1.0)
        assert theta.grad is not None
        return Fit(policy, "gradient norm", theta.grad.norm(dim=-1), reward=self.beta * logits)
