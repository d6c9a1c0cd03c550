"""SPPO, Wu et al. (2024), arXiv 2405.00675: self-play by win rate against the current policy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.chi_squared import inverse_phi
from spac_theory.learning.needs import KNOWN_CONTEXTS, Learner
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


def squared_loss_step(log_pi: Tensor, rate: Tensor, eta: float) -> Tensor:
    """`argmin_π Σ_y π_t(y) (log π(y)/π_t(y) − η(P(y ≻ π_t) − ½))²`, as `log π`; exact.

    The constant ½ stands for the log-partition, so for large `η` this is not the multiplicative
    step. With `u = log π/π_t`, `g = η(P − ½)` and a multiplier `κ` of `Σ π_t e^u = 1` the conditions
    are `u + κ e^u = g`. As `E_{π_t}[g] = 0`, Jensen's inequality rules out `κ < 0`, and the sum falls
    in `κ`: one bisection gives the only stationary point.
    """
    g = eta * (rate - 0.5)
    low = torch.full_like(g[..., :1], -60.0)
    high = g.max(-1, keepdim=True).values.clamp_min(1e-25).log()
    for _ in range(55):
        middle = (low + high) / 2
        ratio = inverse_phi(g + middle) * (-middle).exp()
        large = (log_pi.exp() * ratio).sum(-1, keepdim=True) > 1
        low, high = torch.where(large, middle, low), torch.where(large, high, middle)
    ratio = inverse_phi(g + high) * (-high).exp()
    return torch.log_softmax(log_pi + ratio.clamp_min(1e-300).log(), -1)


@ALGORITHMS.register("sppo")
@dataclass(frozen=True)
class Sppo(Learner):
    """`π_{t+1} ∝ π_t exp(η P(y ≻ π_t))` from `π_ref`: multiplicative weights against oneself.

    The average iterate approaches an equilibrium of `P̂`; the last one need not.
    """

    needs = frozenset({KNOWN_CONTEXTS})

    eta: float = positive(1.0, "step η")
    iterations: int = integer(50, "rounds")
    update: str = choice(
        "multiplicative", "multiplicative or squared_loss", ("multiplicative", "squared_loss")
    )
    output: str = choice("last", "last or mixture", ("last", "mixture"))
    preference: str = choice("counts", "where P comes from: counts, ridge, fitted or true", MODELS)

    def needed(self) -> frozenset[str]:
        """Features for a fitted model, an oracle for the true preferences."""
        return self.needs | model_needs(self.preference)

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Learn `P̂`, then play."""
        preference = learn_preference(self.preference, view, data, oracle)
        step = multiplicative if self.update == "multiplicative" else squared_loss_step
        log_pi = log_reference(view).log_softmax(-1).expand(len(data.n), -1, -1)
        mixture = torch.zeros_like(log_pi)
        for _ in range(self.iterations):
            mixture = mixture + log_pi.exp() / self.iterations
            log_pi = step(log_pi, win_rate(preference, log_pi.exp()), self.eta)
        policy = log_pi.exp() if self.output == "last" else mixture
        policy = policy / policy.sum(-1, keepdim=True)
        return Fit(
            TabularPolicy(policy), "duality gap", 2 * exploitability(policy, preference, view.rho)
        )
