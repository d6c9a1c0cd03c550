"""REBEL, Gao et al. (2024), arXiv 2404.16767: regress reward differences on log-ratios."""

from __future__ import annotations

from dataclasses import dataclass

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.likelihood import ridge_likelihood
from spac_theory.learning.needs import FEATURES, KNOWN_CONTEXTS, Coefficient, Learner
from spac_theory.learning.optimise import log_reference
from spac_theory.learning.preference_game import multiplicative
from spac_theory.options import integer, number, positive
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


@ALGORITHMS.register("rebel")
@dataclass(frozen=True)
class Rebel(Learner):
    """`π_{t+1} = argmin E (η⁻¹[h_t(y) − h_t(y')] − [r(y) − r(y')])²`, `h_t = log π/π_t`.

    For a table the regression is exact: `π_{t+1} ∝ π_t exp(η r)`. The reward is the ridge fit minus
    `kl · log π_t/π_ref`; without it the rounds only multiply `η`.
    """

    needs = frozenset({FEATURES, KNOWN_CONTEXTS})
    coefficient = Coefficient.BEST_RATIO

    eta: float = positive(1.0, "step η")
    iterations: int = integer(20, "rounds")
    kl: float = number(0.05, "weight of the KL penalty inside the reward", low=0)

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Fit the reward, then mirror ascent."""
        fit = ridge_likelihood(view, data, 1.0)
        base = log_reference(view).log_softmax(-1)
        log_pi = base.expand_as(fit.reward)
        for _ in range(self.iterations):
            log_pi = multiplicative(log_pi, fit.reward - self.kl * (log_pi - base), self.eta)
        return Fit(TabularPolicy(log_pi.exp()), "closed form", reward=fit.reward)
