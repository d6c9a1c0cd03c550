"""DPO by gradient, as networks are trained: the number of steps is the tie-break (see :mod:`.dpo`)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.likelihood import tilted_policy
from spac_theory.learning.needs import FEATURES, Coefficient, Learner, featured
from spac_theory.objective import PreferenceGradient
from spac_theory.options import integer, positive
from spac_theory.view import Fit, LearnerView, Oracle


@ALGORITHMS.register("dpo_gradient")
@dataclass(frozen=True)
class DpoGradient(Learner):
    """The DPO loss by Adam on the policy's logits from `π_ref`, as networks are trained."""

    needs = frozenset({FEATURES})
    coefficient = Coefficient.RATIO

    beta: float = positive(0.1, "strength β of the implicit KL regulariser")
    steps: int = integer(500, "full-batch Adam steps from π_ref: the tie-break")
    learning_rate: float = positive(0.1, "Adam's step size")

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Train all data sets at once; parameters are logits relative to `log π_ref`."""
        design, gradient = featured(view).design, PreferenceGradient(data.fraction, view.link)
        theta = torch.zeros(len(data.wins), design.parameters, dtype=torch.float64)
        optimiser = torch.optim.Adam([theta], lr=self.learning_rate, fused=True)
        for _ in range(self.steps):
            implicit = self.beta * design.forward(theta)
            theta.grad = self.beta * design.adjoint(gradient(implicit))
            optimiser.step()
        logits = design.forward(theta)
        policy = tilted_policy(view, logits, theta, 1.0)
        assert theta.grad is not None
        return Fit(policy, "gradient norm", theta.grad.norm(dim=-1), reward=self.beta * logits)
