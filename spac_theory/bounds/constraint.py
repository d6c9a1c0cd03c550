"""The guarantee (T2) of the constraint form, every term a number.

    J(π_c) − J(π̂) ≤ 2 √(κ C(π_c) (2 ε_n + fit_gap)) + net + ε_opt      with probability at least 1 − δ,

for every comparator at once: (T1) at its oracle `λ*`, times `√2`, with no `λ` and no `C` to know.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.bounds.upper import Complexity
from spac_theory.links import BRADLEY_TERRY, Link


@dataclass(frozen=True)
class ConstraintBound:
    """The terms of (T2), each `(S,)`: statistics (times coverage), net, optimisation."""

    statistics: Tensor
    net: Tensor
    optimisation: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum, infinite where the comparator is not covered."""
        return self.statistics + self.net + self.optimisation


def constraint_bound(
    difference_bound: float,
    concentrability: float,
    size: Complexity,
    fit_gap: Tensor | float = 0.0,
    gap: Tensor | float = 0.0,
    link: Link = BRADLEY_TERRY,
) -> ConstraintBound:
    """(T2) for the game over `V` with radius `ε_n`, solved to a certified `gap`, `(S,)`.

    `fit_gap` is how far the level of `V` may lie above `min E_D + ε_n`, because the likeliest member
    is known to a certified gap only.
    """
    c = checks.number("concentrability", concentrability, low=0, infinite=True)
    excess = 2 * size.epsilon_n + torch.as_tensor(fit_gap, dtype=torch.float64)
    optimisation = torch.as_tensor(gap, dtype=torch.float64).expand(excess.shape)
    statistics = 2 * (link.kappa(difference_bound) * c * excess).sqrt()
    net = 2 * size.net_radius * min(1.0, math.sqrt(c))
    return ConstraintBound(statistics, net, optimisation)
