"""Greedy maximum likelihood: the reward model that is believed."""

from __future__ import annotations

from dataclasses import dataclass

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.likelihood import greedy_policy, ridge_likelihood
from spac_theory.learning.needs import FEATURES, Coefficient, Learner, offers
from spac_theory.options import positive
from spac_theory.rewards.base import gap_kind, likeliest_member
from spac_theory.view import Fit, LearnerView, Oracle


@ALGORITHMS.register("mle_greedy")
@dataclass(frozen=True)
class GreedyMaximumLikelihood(Learner):
    """Play the best action of the reward fitted by maximum likelihood: no pessimism at all.

    The ridge (`ridge/n`, default 1/n) makes the fit unique: an action without comparisons keeps
    reward 0, and one that won its only comparison looks best. A class that is not linear has no
    parameters to put a ridge on: there the fit is the most likely member.
    """

    coefficient = Coefficient.ALL

    ridge: float = positive(1.0, "ridge of the fit, in units of 1/n")

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Fit, then be greedy."""
        if FEATURES not in offers(view.reward_class):
            member = likeliest_member(view.reward_class, data.fraction, view.link)
            policy = greedy_policy(view, member.reward, member.parameters)
            kind = gap_kind(view.reward_class)
            return Fit(policy, kind, member.gap, reward=member.reward)
        fit = ridge_likelihood(view, data, self.ridge)
        policy = greedy_policy(view, fit.reward, fit.theta)
        return Fit(policy, "gradient norm", fit.gap, reward=fit.reward)
