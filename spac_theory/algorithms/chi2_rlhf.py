"""χ²-RLHF, Huang et al. (2024), arXiv 2407.13399: fit a reward, then a closed form."""

from __future__ import annotations

from dataclasses import dataclass

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.chi_squared import chi_squared_tilt
from spac_theory.learning.needs import KNOWN_CONTEXTS, Coefficient, Learner
from spac_theory.options import positive
from spac_theory.rewards.base import gap_kind, likeliest_member
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


@ALGORITHMS.register("chi2_rlhf")
@dataclass(frozen=True)
class ChiSquaredRlhf(Learner):
    """Maximum likelihood over the class, then the χ²-regularised optimum in closed form."""

    needs = frozenset({KNOWN_CONTEXTS})
    coefficient = Coefficient.L1

    beta: float = positive(0.1, "strength β of the implicit KL regulariser")

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Two convex steps."""
        member = likeliest_member(view.reward_class, data.fraction, view.link)
        policy = TabularPolicy(chi_squared_tilt(view.reference, member.reward, self.beta))
        return Fit(policy, gap_kind(view.reward_class), member.gap, reward=member.reward)
