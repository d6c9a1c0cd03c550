"""RLHF with a KL term: maximum likelihood, then the regularised optimum in closed form."""

from __future__ import annotations

from dataclasses import dataclass

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.likelihood import tilted_policy
from spac_theory.learning.needs import Coefficient, Learner
from spac_theory.options import positive
from spac_theory.rewards.base import gap_kind, likeliest_member
from spac_theory.view import Fit, LearnerView, Oracle


@ALGORITHMS.register("kl_rlhf")
@dataclass(frozen=True)
class KlRlhf(Learner):
    """RLHF: maximum likelihood over the class, then `π ∝ π_ref exp(r̂/β)`; `beta > 0`."""

    coefficient = Coefficient.WIDE

    beta: float = positive(0.1, "strength β of the KL regulariser")

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Fit the reward model, then solve the regularised problem in closed form."""
        fit = likeliest_member(view.reward_class, data.fraction, view.link)
        policy = tilted_policy(view, fit.reward, fit.parameters, self.beta)
        kind = gap_kind(view.reward_class)
        return Fit(policy, kind, fit.gap, reward=fit.reward)
