"""Magnetic preference optimisation, Wang et al. (2024), arXiv 2410.16714."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.likelihood import NEEDS_LINEAR
from spac_theory.learning.optimise import log_reference
from spac_theory.learning.preference_game import (
    MODELS,
    exploitability,
    learn_preference,
    preference_skip,
    win_rate,
)
from spac_theory.rewards.linear import LinearClass
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
class Mpo:
    """Mirror descent with a magnet: the last iterate itself approaches an equilibrium of `P̂`.

    Attributes
    ----------
    eta, alpha : step and pull of the magnet, both `> 0`
    iterations, refresh : steps; the magnet moves every `refresh` of them (0: stays at `π_ref`)
    preference : where `P` comes from, one of `preference_game.MODELS`
    """

    eta: float = 0.5
    alpha: float = 0.1
    iterations: int = 1000
    refresh: int = 100
    preference: str = "fitted"

    def __post_init__(self) -> None:
        checks.number("eta", self.eta, low=0, open_low=True)
        checks.number("alpha", self.alpha, low=0)
        checks.integer("iterations", self.iterations, low=1)
        checks.integer("refresh", self.refresh)
        checks.choice("preference", self.preference, MODELS)

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Needs features, and an oracle for the true preferences."""
        if not isinstance(view.reward_class, LinearClass):
            return NEEDS_LINEAR
        return preference_skip(self.preference, oracle)

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
