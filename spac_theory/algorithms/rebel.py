"""REBEL, Gao et al. (2024), arXiv 2404.16767: regress reward differences on log-ratios."""

from __future__ import annotations

from dataclasses import dataclass

from spac_theory import checks
from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.likelihood import NEEDS_LINEAR, ridge_likelihood
from spac_theory.learning.optimise import log_reference
from spac_theory.learning.preference_game import multiplicative
from spac_theory.rewards.linear import LinearClass
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


@ALGORITHMS.register("rebel")
@dataclass(frozen=True)
class Rebel:
    """`π_{t+1} = argmin E (η⁻¹[h_t(y) − h_t(y')] − [r(y) − r(y')])²`, `h_t = log π/π_t`.

    For a table the regression is exact: `π_{t+1} ∝ π_t exp(η r)`. The reward is the ridge fit minus
    `kl · log π_t/π_ref`; without it the rounds only multiply `η`.

    Attributes
    ----------
    eta, iterations : `η > 0` and rounds
    kl : weight of the KL penalty inside the reward, `≥ 0`
    """

    eta: float = 1.0
    iterations: int = 20
    kl: float = 0.05

    def __post_init__(self) -> None:
        checks.number("eta", self.eta, low=0, open_low=True)
        checks.integer("iterations", self.iterations, low=1)
        checks.number("kl", self.kl, low=0)

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Needs features."""
        return None if isinstance(view.reward_class, LinearClass) else NEEDS_LINEAR

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Fit the reward, then mirror ascent."""
        fit = ridge_likelihood(view, data, 1.0)
        base = log_reference(view).log_softmax(-1)
        log_pi = base.expand_as(fit.reward)
        for _ in range(self.iterations):
            log_pi = multiplicative(log_pi, fit.reward - self.kl * (log_pi - base), self.eta)
        return Fit(TabularPolicy(log_pi.exp()), "closed form", reward=fit.reward)
