"""Direct Nash optimisation, Rosset et al. (2024), arXiv 2404.03715, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

from spac_theory import checks
from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.likelihood import NEEDS_LINEAR
from spac_theory.learning.optimise import log_reference
from spac_theory.learning.preference_game import (
    MODELS,
    exploitability,
    learn_preference,
    multiplicative,
    preference_skip,
    win_rate,
)
from spac_theory.rewards.linear import LinearClass
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


@ALGORITHMS.register("dno")
@dataclass(frozen=True)
class Dno:
    """Regress `η log π/π_t` on the win rate `r_t(y) = P(y ≻ π_t)`: `π_{t+1} ∝ π_t exp(r_t/η)`.

    The cross-entropy of pair probabilities `σ(r_t(y₁) − r_t(y₂))` has this minimiser for a full
    class, so with exact regression DNO is SPPO's multiplicative step with `1/η` for `η`.

    Attributes
    ----------
    eta, iterations : `η > 0` and rounds
    preference : where `P` comes from, one of `preference_game.MODELS`
    """

    eta: float = 0.3
    iterations: int = 10
    preference: str = "fitted"

    def __post_init__(self) -> None:
        checks.number("eta", self.eta, low=0, open_low=True)
        checks.integer("iterations", self.iterations, low=1)
        checks.choice("preference", self.preference, MODELS)

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Needs features, and an oracle for the true preferences."""
        if not isinstance(view.reward_class, LinearClass):
            return NEEDS_LINEAR
        return preference_skip(self.preference, oracle)

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Learn `P̂`, then iterate."""
        preference = learn_preference(self.preference, view, data, oracle)
        log_pi = log_reference(view).log_softmax(-1).expand(len(data.n), -1, -1)
        for _ in range(self.iterations):
            log_pi = multiplicative(log_pi, win_rate(preference, log_pi.exp()), 1 / self.eta)
        policy = log_pi.exp()
        gap = 2 * exploitability(policy, preference, view.rho)
        return Fit(TabularPolicy(policy), "duality gap", gap)
