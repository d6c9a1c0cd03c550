"""Greedy maximum likelihood: the reward model that is believed."""

from __future__ import annotations

from dataclasses import dataclass

from spac_theory import checks
from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.likelihood import greedy_policy, likeliest_member, ridge_likelihood
from spac_theory.rewards.linear import LinearClass
from spac_theory.view import Fit, LearnerView, Oracle


@ALGORITHMS.register("mle_greedy")
@dataclass(frozen=True)
class GreedyMaximumLikelihood:
    """Play the best action of the reward fitted by maximum likelihood: no pessimism at all.

    The ridge (`ridge/n`, default 1/n) makes the fit unique: an action without comparisons keeps
    reward 0, and one that won its only comparison looks best. A class that is not linear has no
    parameters to put a ridge on: there the fit is the most likely member.
    """

    ridge: float = 1.0

    def __post_init__(self) -> None:
        checks.number("ridge", self.ridge, low=0, open_low=True)

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Treats everything."""
        return None

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Fit, then be greedy."""
        if not isinstance(view.reward_class, LinearClass):
            member = likeliest_member(view, data)
            policy = greedy_policy(view, member.reward, member.parameters)
            kind = "duality gap" if view.reward_class.certified else "estimate"
            return Fit(policy, kind, member.gap, reward=member.reward)
        fit = ridge_likelihood(view, data, self.ridge)
        policy = greedy_policy(view, fit.reward, fit.theta)
        return Fit(policy, "gradient norm", fit.gap, reward=fit.reward)
