"""The guarantee (T1) of the theorem, every term a number.

    J(π_c) − J(π̂) ≤ κ C(π_c)/λ + λ ε_n + net + ε_opt      with probability at least 1 − δ,

where `ε_n = (2/n) log(N/δ)` for a finite class of `N` members. An infinite class is covered by a
sup-norm net of radius `ε = 1/n`: `ε_n` gains `2ε` and the bound gains `net = 2ε min(1, √C)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.checks import InputError
from spac_theory.links import BRADLEY_TERRY, Link
from spac_theory.rewards.base import RewardClass, shape_of


@dataclass(frozen=True)
class Complexity:
    """The statistical size of a class at `n` comparisons: `ε_n` and the radius of its net."""

    epsilon_n: Tensor
    net_radius: Tensor


def _sizes(n: Any) -> Tensor:
    """`n` of every data set, `(S,)`, from a number or an array."""
    counts = checks.as_tensor("n", [n] if checks.is_real(n) else n, (None,))
    if not counts.numel() or float(counts.min()) < 1:
        raise InputError(f"n is {checks.shown(n)}; every data set needs n >= 1 comparison.")
    return counts


def _terms(difference_bound: Any, concentrability: Any, size: Any) -> tuple[float, float]:
    """`R` and `C(π_c)`, checked; C may be infinite."""
    if not isinstance(size, Complexity):
        raise InputError(
            f"size is {checks.shown(size)}; it must be a Complexity, such as covering_complexity gives."
        )
    r = checks.number("difference_bound", difference_bound, low=0)
    return r, checks.number("concentrability", concentrability, low=0, infinite=True)


def _lanes(field: str, value: Any, seeds: int) -> Tensor:
    """One number a data set, `(S,)`; an infinite gap is a number here, a NaN is none."""
    try:
        tensor = torch.as_tensor(value, dtype=torch.float64)
        lanes = tensor.expand(seeds if seeds > 1 or tensor.ndim == 0 else tensor.shape)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise InputError(
            f"{field} is {checks.shown(value)}; it must be a number, or one for each of {seeds} data sets."
        ) from error
    checks.is_number(field, lanes)
    return lanes


def finite_complexity(members: int, n: Tensor, delta: float) -> Complexity:
    """`ε_n = (2/n) log(|𝓡|/δ)` of a finite class; `n (S,)`."""
    checks.integer("members", members, low=1, high=2**53)
    checks.number("delta", delta, low=0, high=1, open_low=True, open_high=True)
    epsilon = 2 / _sizes(n) * math.log(members / delta)
    return Complexity(epsilon, torch.zeros_like(epsilon))


def covering_complexity(
    reward_class: RewardClass, n: Tensor, delta: float, link: Link = BRADLEY_TERRY
) -> Complexity:
    """`ε_n = 2ℓε + (2/n) log(N(ε)/δ)` with a sup-norm net of radius `ε = 1/n`; `n (S,)`.

    `ℓ` is the slope of the loss, 1 for Bradley–Terry. A finite class needs no net: `ε = 0`.
    """
    checks.number("delta", delta, low=0, high=1, open_low=True, open_high=True)
    shape_of(reward_class)
    counts = _sizes(n)
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
    r, c = _terms(difference_bound, concentrability, size)
    return (link.kappa(r) * c / size.epsilon_n).sqrt()


def upper_bound(
    difference_bound: float,
    concentrability: float,
    size: Complexity,
    lam: Tensor | float,
    gap: Tensor | float = 0.0,
    link: Link = BRADLEY_TERRY,
) -> UpperBound:
    """(T1) at given `λ (S,)`, for a policy whose certified gap is at most `gap`.

    Raises NotANumber where `λ`, the gap or the complexity is NaN: `NaN > bound` would count as kept.
    """
    r, c = _terms(difference_bound, concentrability, size)
    factor = link.kappa(r) * c
    seeds = len(size.epsilon_n)
    lam, gap = _lanes("lam", lam, seeds), _lanes("gap", gap, seeds)
    coverage = factor / lam if c > 0 else torch.zeros_like(lam)
    net = 2 * size.net_radius * min(1.0, math.sqrt(c))
    checks.is_number("epsilon_n", size.epsilon_n)
    return UpperBound(coverage, lam * size.epsilon_n, net, gap)


def best_upper_bound(
    difference_bound: float,
    concentrability: float,
    size: Complexity,
    link: Link = BRADLEY_TERRY,
) -> Tensor:
    """(T1) at `λ*` for an exactly solved game: `2√(κ C ε_n) + net`, `(S,)`."""
    r, c = _terms(difference_bound, concentrability, size)
    if math.isinf(c):
        return torch.full_like(size.epsilon_n, math.inf)
    factor = link.kappa(r) * c
    leading = 2 * (factor * size.epsilon_n).sqrt()
    return leading + 2 * size.net_radius * min(1.0, math.sqrt(c))
