"""χ²-RLHF, Huang et al. (2024), arXiv 2407.13399: fit a reward, then a closed form."""

from __future__ import annotations

from dataclasses import dataclass

from spac_theory import checks
from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.chi_squared import chi_squared_tilt
from spac_theory.learning.likelihood import class_likelihood
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


@ALGORITHMS.register("chi2_rlhf")
@dataclass(frozen=True)
class ChiSquaredRlhf:
    """Maximum likelihood over the class, then the χ²-regularised optimum in closed form."""

    beta: float = 0.1

    def __post_init__(self) -> None:
        checks.number("beta", self.beta, low=0, open_low=True)

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Treats everything."""
        return None

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Two convex steps."""
        reward, gap = class_likelihood(view, data)
        policy = TabularPolicy(chi_squared_tilt(view.reference, reward, self.beta))
        return Fit(policy, "duality gap", gap, reward=reward)
