"""SPIN, Chen et al. (2024), arXiv 2401.01335: self-play against one's own responses, closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.needs import FULL_REFERENCE, KNOWN_CONTEXTS, Learner
from spac_theory.options import integer, positive
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


@ALGORITHMS.register("spin")
@dataclass(frozen=True)
class Spin(Learner):
    """`π_{t+1} ∝ π_t (p/π_t)^{1/λ}` from `π_ref`, with `p` the winners of the data.

    It is the population minimiser of the logistic loss of `λ log π/π_t` between winners and own
    responses. The fixed point is `p`: SPIN imitates, and knows no preference beyond who won.
    """

    needs = frozenset({FULL_REFERENCE, KNOWN_CONTEXTS})

    lam: float = positive(2.0, "λ > 0; 1 jumps to the winners at once")
    iterations: int = integer(4, "rounds")
    smoothing: float = positive(0.01, "pseudo-count of π_ref among the winners")

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Iterate the closed form."""
        wins = data.wins.sum(-1).to(torch.float64) + self.smoothing * view.reference
        target = (wins / wins.sum(-1, keepdim=True)).log()
        log_pi = view.reference.log().expand_as(target)
        for _ in range(self.iterations):
            log_pi = torch.log_softmax(log_pi + (target - log_pi) / self.lam, -1)
        return Fit(TabularPolicy(log_pi.exp()), "closed form")
