"""RLHF with a KL term: maximum likelihood, then the regularised optimum in closed form."""

from __future__ import annotations

from dataclasses import dataclass

from spac_theory import checks
from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.likelihood import likeliest_member, tilted_policy
from spac_theory.view import Fit, LearnerView, Oracle


@ALGORITHMS.register("kl_rlhf")
@dataclass(frozen=True)
class KlRlhf:
    """RLHF: maximum likelihood over the class, then `π ∝ π_ref exp(r̂/β)`; `beta > 0`."""

    beta: float = 0.1

    def __post_init__(self) -> None:
        checks.number("beta", self.beta, low=0, open_low=True)

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Treats everything."""
        return None

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Fit the reward model, then solve the regularised problem in closed form."""
        fit = likeliest_member(view, data)
        policy = tilted_policy(view, fit.reward, fit.parameters, self.beta)
        kind = "duality gap" if view.reward_class.certified else "estimate"
        return Fit(policy, kind, fit.gap, reward=fit.reward)
