"""Direct Nash optimisation, Rosset et al. (2024), arXiv 2404.03715, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.needs import KNOWN_CONTEXTS, Coefficient, Learner
from spac_theory.learning.optimise import log_reference
from spac_theory.learning.preference_game import (
    MODELS,
    exploitability,
    learn_preference,
    model_needs,
    multiplicative,
    win_rate,
)
from spac_theory.options import choice, integer, positive
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


@ALGORITHMS.register("dno")
@dataclass(frozen=True)
class Dno(Learner):
    """Regress `η log π/π_t` on the win rate `r_t(y) = P(y ≻ π_t)`: `π_{t+1} ∝ π_t exp(r_t/η)`.

    The cross-entropy of pair probabilities `σ(r_t(y₁) − r_t(y₂))` has this minimiser for a full
    class, so with exact regression DNO is SPPO's multiplicative step with `1/η` for `η`.
    """

    needs = frozenset({KNOWN_CONTEXTS})
    coefficient = Coefficient.RATIO

    eta: float = positive(0.3, "step η")
    iterations: int = integer(10, "rounds")
    preference: str = choice("counts", "where P comes from: counts, ridge, fitted or true", MODELS)

    def needed(self) -> frozenset[str]:
        """Features for a fitted model, an oracle for the true preferences."""
        return self.needs | model_needs(self.preference)

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Learn `P̂`, then iterate."""
        preference = learn_preference(self.preference, view, data, oracle)
        log_pi = log_reference(view).log_softmax(-1).expand(len(data.n), -1, -1)
        for _ in range(self.iterations):
            log_pi = multiplicative(log_pi, win_rate(preference, log_pi.exp()), 1 / self.eta)
        policy = log_pi.exp()
        gap = 2 * exploitability(policy, preference, view.rho)
        return Fit(TabularPolicy(policy), "duality gap", gap)
