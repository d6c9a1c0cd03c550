"""What the data pull a class to when it misses the truth, and (T1) around that member.

With unlimited data the likelihood prefers `r° = argmin_{r∈𝓡} E[E_D(r)]`, the projection of the label law on
the class. Over a convex class (T1) holds around `r°`, whatever the truth is: its price for
misspecification is `ε° = sup|Δ_{r*} − Δ_{r°}|`, and it does not grow with `λ`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spac_theory.bounds.upper import Complexity
from spac_theory.checks import InputError, number
from spac_theory.links import BRADLEY_TERRY, Link
from spac_theory.rewards.base import RewardClass


def projection(reward_class: RewardClass, law: Tensor, link: Link = BRADLEY_TERRY) -> Tensor:
    """`r°`, `(X, A)`: the member with the smallest mean loss under the law of one label `(X, A, A)`."""
    nothing = torch.zeros(1, *reward_class.shape, dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    return reward_class.best_response(nothing, one, law[None], link, 1e-12).reward[0]


def distance(reward: Tensor, other: Tensor) -> float:
    """`sup |Δ_r − Δ_{r′}|` of two tables `(X, A)`."""
    difference = reward - other
    return float((difference.amax(-1) - difference.amin(-1)).max())


def projected_complexity(reward_class: RewardClass, n: Tensor, delta: float) -> Complexity:
    """`ε°_n = 2ε + (2κ + 2R/3) log(N(ε)/δ)/n` with `ε = 1/n`, `(S,)`: for (T1) around `r°`.

    Bradley–Terry losses, a convex class, labels of any law. It takes the place of `ε_n`, whose constant is
    2: a truth inside the class is what makes that one small. InputError for a class that is not convex.
    """
    if not reward_class.convex:
        raise InputError("reward_class is not convex; the projection's bound needs convexity.")
    number("delta", delta, low=0, high=1, open_low=True, open_high=True)
    counts = n.to(torch.float64)
    radius = 1 / counts
    sizes, places = torch.unique(radius, return_inverse=True)
    entropy = torch.tensor([reward_class.log_covering(r) for r in sizes.tolist()])[places]
    r = reward_class.difference_bound
    constant = 2 * BRADLEY_TERRY.kappa(r) + 2 * r / 3
    return Complexity(2 * radius + constant * (entropy + math.log(1 / delta)) / counts, radius)
