"""SPIN, Chen et al. (2024), arXiv 2401.01335: self-play against one's own responses, closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from spac_theory import checks
from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


@ALGORITHMS.register("spin")
@dataclass(frozen=True)
class Spin:
    """`π_{t+1} ∝ π_t (p/π_t)^{1/λ}` from `π_ref`, with `p` the winners of the data.

    It is the population minimiser of the logistic loss of `λ log π/π_t` between winners and own
    responses. The fixed point is `p`: SPIN imitates, and knows no preference beyond who won.

    Attributes
    ----------
    lam : `λ > 0`; 1 jumps to `p` at once
    iterations : rounds
    smoothing : pseudo-count of `π_ref` in `p`, so that one missing win is not a zero
    """

    lam: float = 2.0
    iterations: int = 4
    smoothing: float = 0.01

    def __post_init__(self) -> None:
        checks.number("lam", self.lam, low=0, open_low=True)
        checks.integer("iterations", self.iterations, low=1)
        checks.number("smoothing", self.smoothing, low=0, open_low=True)

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Treats everything with full support."""
        return None if float(view.reference.min()) > 0 else "needs π_ref > 0 everywhere"

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Iterate the closed form."""
        wins = data.wins.sum(-1).to(torch.float64) + self.smoothing * view.reference
        target = (wins / wins.sum(-1, keepdim=True)).log()
        log_pi = view.reference.log().expand_as(target)
        for _ in range(self.iterations):
            log_pi = torch.log_softmax(log_pi + (target - log_pi) / self.lam, -1)
        return Fit(TabularPolicy(log_pi.exp()), "closed form")
