"""The guarantee (T1) of the theorem, every term a number.

    J(π_c) − J(π̂) ≤ κ C(π_c)/λ + λ ε_n + net + ε_opt      with probability at least 1 − δ,

where `ε_n = (2/n) log(N/δ)` for a finite class of `N` members. An infinite class is covered by a
sup-norm net of radius `ε = 1/n`: `ε_n` gains `2ε` and the bound gains `net = 2ε min(1, √C)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.links import BRADLEY_TERRY, Link
from spac_theory.rewards.base import RewardClass


@dataclass(frozen=True)
class Complexity:
    """The statistical size of a class at `n` comparisons: `ε_n` and the radius of its net."""

    epsilon_n: Tensor
    net_radius: Tensor


def finite_complexity(members: int, n: Tensor, delta: float) -> Complexity:
    """`ε_n = (2/n) log(|𝓡|/δ)` of a finite class; `n (S,)`."""
    checks.integer("members", members, low=1)
    checks.number("delta", delta, low=0, high=1, open_low=True, open_high=True)
    epsilon = 2 / n.to(torch.float64) * math.log(members / delta)
    return Complexity(epsilon, torch.zeros_like(epsilon))


def covering_complexity(
    reward_class: RewardClass, n: Tensor, delta: float, link: Link = BRADLEY_TERRY
) -> Complexity:
    """`ε_n = 2ℓε + (2/n) log(N(ε)/δ)` with a sup-norm net of radius `ε = 1/n`; `n (S,)`.

    `ℓ` is the slope of the loss, 1 for Bradley–Terry. A finite class needs no net: `ε = 0`.
    """
    checks.number("delta", delta, low=0, high=1, open_low=True, open_high=True)
    counts = n.to(torch.float64)
    radius = 1 / counts
    sizes, places = torch.unique(radius, return_inverse=True)
    entropies = [reward_class.log_covering(r) for r in sizes.tolist()]
    entropy = torch.tensor(entropies, dtype=torch.float64)[places]
    if reward_class.finite:
        radius = torch.zeros_like(radius)
    slope = link.slope(reward_class.difference_bound)
    statistical = 2 / counts * (entropy + math.log(1 / delta))
    epsilon = 2 * slope * radius + statistical
    return Complexity(epsilon, radius)


@dataclass(frozen=True)
class UpperBound:
    """The terms of (T1), each `(S,)`: coverage, statistics, net, optimisation."""

    coverage: Tensor
    statistics: Tensor
    net: Tensor
    optimisation: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum, infinite where the comparator is not covered."""
        return self.coverage + self.statistics + self.net + self.optimisation


def oracle_lambda(
    difference_bound: float,
    concentrability: float,
    size: Complexity,
    link: Link = BRADLEY_TERRY,
) -> Tensor:
    """`λ* = √(κ C(π_c) / ε_n)`, which minimises the first two terms of (T1); `(S,)`.

    It needs `C(π_c)` and hence `r*`: an oracle choice.
    """
    return (link.kappa(difference_bound) * concentrability / size.epsilon_n).sqrt()


def upper_bound(
    difference_bound: float,
    concentrability: float,
    size: Complexity,
    lam: Tensor,
    gap: Tensor | float = 0.0,
    link: Link = BRADLEY_TERRY,
) -> UpperBound:
    """(T1) at given `λ (S,)`, for a policy whose certified gap is at most `gap`.

    Raises NotANumber where `λ`, the gap or the complexity is NaN: `NaN > bound` would count as kept.
    """
    c = checks.number("concentrability", concentrability, low=0, infinite=True)
    factor = link.kappa(difference_bound) * c
    coverage = factor / lam if c > 0 else torch.zeros_like(lam)
    net = 2 * size.net_radius * min(1.0, math.sqrt(c))
    optimisation = torch.as_tensor(gap, dtype=torch.float64).expand(lam.shape)
    for field, value in (("lam", lam), ("gap", optimisation), ("epsilon_n", size.epsilon_n)):
        checks.is_number(field, value)
    return UpperBound(coverage, lam * size.epsilon_n, net, optimisation)


def best_upper_bound(
    difference_bound: float,
    concentrability: float,
    size: Complexity,
    link: Link = BRADLEY_TERRY,
) -> Tensor:
    """(T1) at `λ*` for an exactly solved game: `2√(κ C ε_n) + net`, `(S,)`."""
    if math.isinf(concentrability):
        return torch.full_like(size.epsilon_n, math.inf)
    factor = link.kappa(difference_bound) * concentrability
    leading = 2 * (factor * size.epsilon_n).sqrt()
    return leading + 2 * size.net_radius * min(1.0, math.sqrt(concentrability))
