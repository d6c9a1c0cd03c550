"""(T3) and (T4): what self-play costs when critic and policy are networks, every term a number.

    (T3)  J(π_c) − J(π̄) ≤ κ C(π_c)/λ + λ ε_n + ε_opt
    (T4)  J(π_c) − J(π̄) ≤ κ Ĉ(π_c)/λ + λ KL(r̂‖r*) + 2√(κ Ĉ(π_c) h²(r̂, r*)) + ε_opt

    ε_opt = E_x KL(π_c‖π_1)/(ηT) + ηR²/8 + (R/T) Σ_t E_x TV(p_t, π̂_t) + (1/T) Σ_t ε_t

`p_t ∝ π_1 exp(η Σ_{s<t} r_s)`, `π̂_t` is the network that stands for it, `r_t` answers `π̂_t` to within `ε_t`,
and `π̄` is the uniform mixture of the `π̂_t`. `ε_opt` takes the place of the gap in
:func:`spac_theory.bounds.upper.upper_bound`; in (T4) the labels are those of a fit `r̂`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.links import BRADLEY_TERRY


@dataclass(frozen=True)
class PlayTerms:
    """The three parts of `ε_opt`: regret of the ideal policies, projection, the critics' gaps."""

    regret: float
    projection: float
    critic: float

    @property
    def total(self) -> float:
        """`ε_opt`."""
        return self.regret + self.projection + self.critic


@dataclass(frozen=True)
class FitTerms:
    """The first three terms of (T4): coverage, the fit as a law of labels, and as a reward."""

    coverage: float
    labels: float
    shift: float

    @property
    def total(self) -> float:
        """Their sum."""
        return self.coverage + self.labels + self.shift


def best_step(difference_bound: float, divergence: float, rounds: int) -> float:
    """`η = √(8 KL/T)/R`, which makes the regret `R √(KL/(2T))`."""
    checks.number("difference_bound", difference_bound, low=0, open_low=True)
    checks.number("divergence", divergence, low=0)
    return math.sqrt(8 * divergence / checks.integer("rounds", rounds, low=1)) / difference_bound


def play_terms(
    difference_bound: float, divergence: float, eta: float, distances: Tensor, gaps: Tensor
) -> PlayTerms:
    """`ε_opt` of `T` rounds, part by part.

    `divergence` is `E_x KL(π_c ‖ π_1)`; `distances (T,)` are `E_x TV(p_t, π̂_t)`, or bounds on them
    such as `√(E_x KL(π̂_t‖p_t)/2)`; `gaps (T,)` are the `ε_t`. Raises InputError outside these ranges.
    """
    bound = checks.number("difference_bound", difference_bound, low=0)
    checks.number("divergence", divergence, low=0, infinite=True)
    checks.number("eta", eta, low=0, open_low=True)
    if distances.shape != gaps.shape or distances.ndim != 1 or len(gaps) == 0:
        raise checks.InputError(
            f"distances {tuple(distances.shape)} and gaps {tuple(gaps.shape)} must both be (T,), T ≥ 1."
        )
    regret = divergence / (eta * len(gaps)) + eta * bound**2 / 8
    return PlayTerms(regret, bound * float(distances.mean()), float(gaps.mean()))


def fit_terms(
    difference_bound: float, concentrability: float, lam: float, divergence: float, hellinger: float
) -> FitTerms:
    """The terms of (T4) that the fit `r̂` decides.

    `concentrability` is `Ĉ(π_c)`, (8) with `r̂` in the place of `r*`; `divergence` and `hellinger` are
    `KL(r̂‖r*)` and `h²(r̂, r*)`, means over the pairs that the labels are given to.
    """
    c = checks.number("concentrability", concentrability, low=0, infinite=True)
    checks.number("lam", lam, low=0, open_low=True)
    factor = BRADLEY_TERRY.kappa(difference_bound) * c if c > 0 else 0.0
    shift = 2 * math.sqrt(factor * hellinger) if factor and hellinger else 0.0
    return FitTerms(factor / lam, lam * divergence, shift)


def total_variation(p: Tensor, q: Tensor, rho: Tensor) -> Tensor:
    """`E_x TV(p, q)`: `(..., X, A), (..., X, A) -> (...)`."""
    return (rho * (p - q).abs().sum(-1)).sum(-1) / 2


def relative_entropy(p: Tensor, q: Tensor, rho: Tensor) -> Tensor:
    """`E_x KL(p ‖ q)`, with `0 log 0 = 0`: `(..., X, A), (..., X, A) -> (...)`."""
    return (rho * (torch.special.xlogy(p, p) - torch.special.xlogy(p, q)).sum(-1)).sum(-1)
