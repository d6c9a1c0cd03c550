"""Magnetic preference optimisation, Wang et al. (2024), arXiv 2410.16714."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.needs import KNOWN_CONTEXTS, Learner
from spac_theory.learning.optimise import log_reference
from spac_theory.learning.preference_game import (
    MODELS,
    exploitability,
    learn_preference,
    model_needs,
    win_rate,
)
from spac_theory.options import choice, integer, number, positive
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


def magnetic_mirror_descent(
    preference: Tensor, start: Tensor, eta: float, alpha: float, iterations: int, refresh: int
) -> Tensor:
    """`log π` of the last iterate of `π_{k+1} ∝ [π_k exp(η Q_k) π_mag^{αη}]^{1/(1+αη)}`.

    `preference (S, X, A, A)`, `start (S, X, A)` a log-policy; every `refresh` steps the magnet moves
    to the current policy (0: never).
    """
    log_pi = magnet = start
    for k in range(1, iterations + 1):
        q = win_rate(preference, log_pi.exp())
        pulled = (log_pi + eta * q + alpha * eta * magnet) / (1 + alpha * eta)
        log_pi = torch.log_softmax(pulled, -1)
        if refresh and k % refresh == 0:
            magnet = log_pi
    return log_pi


@ALGORITHMS.register("mpo")
@dataclass(frozen=True)
class Mpo(Learner):
    """Mirror descent with a magnet: the last iterate itself approaches an equilibrium of `P̂`."""

    needs = frozenset({KNOWN_CONTEXTS})

    eta: float = positive(0.4, "step η; the theorem asks for η ≤ 4α")
    alpha: float = number(0.1, "pull α of the magnet", low=0)
    iterations: int = integer(1000, "rounds")
    refresh: int = integer(100, "steps between moves of the magnet (0: never)", low=0)
    preference: str = choice("counts", "where P comes from: counts, ridge, fitted or true", MODELS)

    def needed(self) -> frozenset[str]:
        """Features for a fitted model, an oracle for the true preferences."""
        return self.needs | model_needs(self.preference)

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Learn `P̂`, then descend."""
        preference = learn_preference(self.preference, view, data, oracle)
        start = log_reference(view).log_softmax(-1).expand(len(data.n), -1, -1)
        log_pi = magnetic_mirror_descent(
            preference, start, self.eta, self.alpha, self.iterations, self.refresh
        )
        policy = log_pi.exp()
        gap = 2 * exploitability(policy, preference, view.rho)
        return Fit(TabularPolicy(policy), "duality gap", gap)
