"""What (T1) gains when its assumptions are loosened: a class that misses `r*`, prompts for `ρ`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.links import BRADLEY_TERRY, Link


def misspecification(
    epsilon: float,
    lam: Tensor,
    n: Tensor,
    delta: float,
    difference_bound: float = 0.0,
    concentrability: float | None = None,
    link: Link = BRADLEY_TERRY,
) -> Tensor:
    """The misspecification term at `ε = min_r sup |Δ_r − Δ_{r*}|`, `(S,)`.

    Two parts. The value of the closest member differs by `ε`. Its loss exceeds that of `r*` by at
    most `ℓε`, and, on a further event of probability `1 − δ`, by `sε²/2 + ℓε √(2 log(1/δ)/n)`: a
    Kullback–Leibler divergence and Hoeffding's deviation. `ℓ` and `s` bound the slope and the
    curvature of the loss on `[−R, R]`; for Bradley–Terry 1 and 1/4, whatever `R` is.

    With `concentrability=None` the coefficient used in (T1) is (8) around the true `r*`. Given
    `C̃`, that of the class around its closest member (the closed form of a linear class), the term
    gains a further `ε (1 + √C̃)`, and (T1) is to be used with `C̃`.
    """
    epsilon = checks.number("epsilon", epsilon, low=0)
    checks.number("delta", delta, low=0, high=1, open_low=True, open_high=True)
    slope, curvature = link.slope(difference_bound), link.curvature(difference_bound)
    deviation = slope * epsilon * (2 * math.log(1 / delta) / n.to(torch.float64)).sqrt()
    loss = torch.clamp(curvature * epsilon**2 / 2 + deviation, max=slope * epsilon)
    around = 0.0 if concentrability is None else epsilon * (1 + math.sqrt(concentrability))
    return epsilon + around + lam * loss


def ridge_statistics(lam: Tensor, ridge: float, norm_bound: float, kappa: float) -> Tensor:
    """`λ γ B²/κ`, `(S,)`: what (T1) gains over a ball of radius `B` when `C_γ` takes the place of `C`.

    With `γ = κ ε_n/B²` it is the statistical term `λ ε_n` once more.
    """
    checks.number("ridge", ridge, low=0)
    checks.number("norm_bound", norm_bound, low=0, open_low=True)
    return lam * ridge * norm_bound**2 / checks.number("kappa", kappa, low=0, open_low=True)


def empirical_contexts(difference_bound: float, rho: Tensor, empirical: Tensor) -> Tensor:
    """`R ‖ρ̂ − ρ‖₁`: what suboptimality gains when `L` uses the prompts of the data, `(...)`.

    Against an optimal comparator half of it is enough: `r*(x,π*) − r*(x,π)` lies in `[0, R]`.
    """
    return difference_bound * (empirical - rho).abs().sum(-1)


def greedy_contexts(
    difference_bound: float, n: int, actions: int, dimension: int, delta: float
) -> float:
    """The same for contexts from a density, for policies greedy in `φ(x,a)·θ`, with probability `1 − δ`.

    `2R √(2 log S/n) + R √(log(1/δ)/(2n))`, where `S = 2 (e n A(A−1)/(2d))^d` bounds how many ways
    such a policy can act on `n` prompts: regions of `n A(A−1)/2` hyperplanes through the origin of `ℝ^d`.
    """
    checks.integer("n", n, low=1)
    checks.number("delta", delta, low=0, high=1, open_low=True, open_high=True)
    planes = max(n * actions * (actions - 1) / 2, dimension)
    ways = math.log(2) + dimension * math.log(math.e * planes / dimension)
    massart = 2 * math.sqrt(2 * ways / n)
    return difference_bound * (massart + math.sqrt(math.log(1 / delta) / (2 * n)))
