"""Nash mirror descent, Munos et al. (2023), arXiv 2312.00886."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from spac_theory import checks
from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.needs import KNOWN_CONTEXTS, Learner
from spac_theory.learning.optimise import log_reference
from spac_theory.learning.preference_game import (
    MODELS,
    learn_preference,
    model_needs,
    multiplicative,
    regularised_exploitability,
    win_rate,
)
from spac_theory.options import choice, integer, positive
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


@ALGORITHMS.register("nash_md")
@dataclass(frozen=True)
class NashMd(Learner):
    """`π_{t+1} ∝ π_t^mix exp(η P(y ≻ π_t^mix))`, `π_t^mix ∝ π_t^{1−ητ} π_ref^{ητ}`.

    The last iterate approaches the equilibrium of the game with KL terms of weight `τ` to `π_ref`;
    its regularised duality gap on `P̂` is certified.
    """

    needs = frozenset({KNOWN_CONTEXTS})

    tau: float = positive(0.05, "weight τ of the KL terms")
    eta: float = positive(0.5, "step η, at most 1/τ")
    iterations: int = integer(300, "rounds")
    preference: str = choice("counts", "where P comes from: counts, ridge, fitted or true", MODELS)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.number("eta", self.eta, low=0, high=1 / self.tau, open_low=True)

    def needed(self) -> frozenset[str]:
        """Features for a fitted model, an oracle for the true preferences."""
        return self.needs | model_needs(self.preference)

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Learn `P̂`, then play against the geometric mixture."""
        preference = learn_preference(self.preference, view, data, oracle)
        base = log_reference(view).log_softmax(-1)
        log_pi, pull = base.expand(len(data.n), -1, -1), self.eta * self.tau
        for _ in range(self.iterations):
            mixed = torch.log_softmax((1 - pull) * log_pi + pull * base, -1)
            log_pi = multiplicative(mixed, win_rate(preference, mixed.exp()), self.eta)
        policy = log_pi.exp()
        gap = 2 * regularised_exploitability(policy, preference, view.rho, base.exp(), self.tau)
        return Fit(TabularPolicy(policy), "duality gap", gap)
