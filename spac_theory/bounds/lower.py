"""The local two-point lower bound, and the search for the rival that makes it largest.

For any `r′` of the class no algorithm has expected suboptimality below

    (Δ/4) exp(−n KL_μ(P_{r*} ‖ P_{r′})),    Δ = E_x[max r* + max r′ − max(r* + r′)],

at both `r*` and `r′`. Every `r′` gives a valid bound, so the search need not be exact, and what it
finds is evaluated exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.checks import InputError
from spac_theory.concentrability.linear import pair_covariance
from spac_theory.links import BRADLEY_TERRY, Link
from spac_theory.objective import tabular_margins
from spac_theory.rewards.base import RewardClass
from spac_theory.rewards.finite import FiniteClass
from spac_theory.rewards.linear import LinearClass

STEPS = torch.logspace(-5, 1.5, 40, dtype=torch.float64)
RANDOM_DIRECTIONS = 32
CHUNK = 500_000  # cells (x, a, b) at a time
BUDGET = (
    20_000_000  # cells in all: larger problems try fewer directions, and each gives a valid bound
)
ROUNDING = 1e-14
SMALLEST = 1e-200


def separation(rho: Tensor, reward: Tensor, rival: Tensor) -> Tensor:
    """`Δ`, the least that the suboptimalities of one policy under both rewards sum to, `(...)`.

    A context's share below `ROUNDING` times its rewards counts as 0: it would be rounding.
    """
    best = reward.amax(-1) + rival.amax(-1) - (reward + rival).amax(-1)
    size = reward.abs().amax(-1) + rival.abs().amax(-1)
    return (rho * torch.where(best > ROUNDING * size, best, 0.0)).sum(-1)


def divergence(
    rho: Tensor, reward: Tensor, rival: Tensor, pairs: Tensor, link: Link = BRADLEY_TERRY
) -> Tensor:
    """`KL_μ(P_{r*} ‖ P_{r′})` of one comparison; `rival (..., X, A)` → `(...)`.

    Accurate to about 1e-16 in absolute terms, so `n KL` is good to 1e-4 up to `n = 10¹²`.
    """
    ours, theirs = tabular_margins(reward), tabular_margins(rival)
    one = link.probability(ours) * (link.loss(theirs) - link.loss(ours))
    both = one + one.transpose(-1, -2)
    return (rho[:, None, None] * pairs * both).sum((-3, -2, -1)).clamp_min(0)


def two_point_bound(
    rho: Tensor,
    reward: Tensor,
    rival: Tensor,
    pairs: Tensor,
    n: Tensor,
    link: Link = BRADLEY_TERRY,
) -> Tensor:
    """The bound at `n (S,)`; `reward (X, A)`, `rival (..., X, A)`, `pairs (X, A, A)` → `(..., S)`."""
    apart = separation(rho, reward, rival)
    return _bound(apart, divergence(rho, reward, rival, pairs, link), n)


def _bound(apart: Tensor, kl: Tensor, n: Tensor) -> Tensor:
    """`(Δ/4) exp(−n KL)`, `(..., S)`; 0 where it is below `SMALLEST` and would be lost in rounding.

    Where the class has no close rival `n KL` runs to thousands: the bound is then 0 and claims nothing.
    """
    log = (apart / 4).log().unsqueeze(-1) - n.to(torch.float64) * kl.unsqueeze(-1)
    return torch.where(log > math.log(SMALLEST), log.exp(), 0.0)


@dataclass(frozen=True)
class LowerBound:
    """For each `n (S,)` the largest bound found and the rival `(S, X, A)` that gives it.

    A bound of 0 says nothing, and its rival is any member.
    """

    value: Tensor
    rival: Tensor


@dataclass(frozen=True)
class Rivals:
    """Members `reward (K, X, A)` with their separation and divergence `(K,)` from the truth."""

    reward: Tensor
    separation: Tensor
    divergence: Tensor

    def bound(self, n: Tensor) -> LowerBound:
        """The best of them at every `n (S,)`: cheap, so that one search serves all sizes."""
        best, index = _bound(self.separation, self.divergence, n).max(0)
        return LowerBound(best, self.reward[index])


def find_rivals(
    reward_class: RewardClass,
    rho: Tensor,
    reward: Tensor,
    pairs: Tensor,
    link: Link = BRADLEY_TERRY,
) -> Rivals:
    """Members worth trying against `reward (X, A)`: all of a finite class, else the result of a search.

    Raises InputError for a class that is not `searchable`.
    """
    rivals = _candidates(reward_class, rho, reward, pairs)
    parts = rivals.split(max(1, CHUNK // pairs.numel()))
    apart = torch.cat([separation(rho, reward, part) for part in parts])
    kl = torch.cat([divergence(rho, reward, part, pairs, link) for part in parts])
    return Rivals(rivals, apart, kl)


def searchable(reward_class: RewardClass) -> bool:
    """Whether rivals can be found: in finite and linear classes (a kernel's is linear)."""
    return isinstance(reward_class, FiniteClass | LinearClass)


def local_lower_bound(
    reward_class: RewardClass,
    rho: Tensor,
    reward: Tensor,
    pairs: Tensor,
    n: Tensor,
    link: Link = BRADLEY_TERRY,
) -> LowerBound:
    """The two-point bound maximised over the class, by enumeration or by search; `n (S,)`."""
    return find_rivals(reward_class, rho, reward, pairs, link).bound(n)


def _candidates(cls: RewardClass, rho: Tensor, reward: Tensor, pairs: Tensor) -> Tensor:
    """Members worth trying, `(K, X, A)`."""
    if isinstance(cls, FiniteClass):
        return cls.members
    if not isinstance(cls, LinearClass):
        raise InputError(
            f"reward_class is {type(cls).__name__}; the lower bound is searched for in finite, linear "
            "and kernel classes."
        )
    most = max(1, BUDGET // (pairs.numel() * len(STEPS)))
    directions = _directions(cls, rho, reward, pairs)[:most]
    centre = _parameters(cls, reward)
    moved = centre + STEPS[:, None, None] * directions
    return _members(cls, moved.flatten(0, 1))


def _parameters(cls: LinearClass, reward: Tensor) -> Tensor:
    """`θ*` of smallest norm, `(d,)`."""
    rows = cls.features.flatten(0, 1)
    solution: Tensor = torch.linalg.lstsq(rows, reward.flatten()[:, None], driver="gelsd").solution
    return solution[:, 0]


def _members(cls: LinearClass, theta: Tensor) -> Tensor:
    """Parameters `(K, d)` pulled into the class, as rewards `(K, X, A)`.

    Into a ball by scaling. Into a range by clipping a table, else by scaling.
    """
    if cls.norm_bound is not None:
        norm = theta.norm(dim=-1, keepdim=True)
        theta = theta * (cls.norm_bound / norm.clamp_min(cls.norm_bound))
    reward = theta @ cls.features.flatten(0, 1).T
    if cls.reward_range is not None:
        low, high = cls.reward_range
        if cls.tabular and cls.norm_bound is None:
            reward = reward.clamp(low, high)
        else:
            over = torch.maximum(reward / high, reward / low).amax(-1, keepdim=True)
            reward = reward / over.clamp_min(1)
    return reward.reshape(-1, *cls.shape)


def _directions(cls: LinearClass, rho: Tensor, reward: Tensor, pairs: Tensor) -> Tensor:
    """Directions `(K, d)` in which a rival can win at small divergence, of unit length in `Σ`.

    To make `a` beat the best action at `x` at least divergence, move along
    `Σ⁻¹(φ(x,a) − φ(x,a*))`; to do so at every context at once, along `Σ⁻¹` of the average. Random
    alternatives mix contexts.
    """
    contexts, actions = reward.shape
    best = reward.argmax(-1)
    rows = torch.arange(contexts)
    shifts = cls.features - cls.features[rows, best].unsqueeze(1)  # (X, A, d)
    generator = torch.Generator().manual_seed(0)
    choice = torch.randint(actions, (RANDOM_DIRECTIONS, contexts), generator=generator)
    kept = torch.rand(RANDOM_DIRECTIONS, contexts, generator=generator, dtype=torch.float64)
    mixed = torch.einsum("kx,kxd->kd", rho * (kept < 0.5), shifts[rows, choice])
    second = torch.where(reward == reward.amax(-1, keepdim=True), -torch.inf, reward).argmax(-1)
    runners = torch.einsum("x,xd->d", rho, shifts[rows, second])
    wanted = torch.cat([runners[None], mixed, shifts.flatten(0, 1)])
    values, vectors = torch.linalg.eigh(pair_covariance(cls.features, rho, pairs))
    values = values.clamp_min(1e-9 * float(values.max()))
    along = wanted @ vectors / values
    norm = ((along**2) * values).sum(-1, keepdim=True).sqrt()
    useful = norm.squeeze(-1) > 1e-12
    directions: Tensor = (along / norm.clamp_min(1e-300))[useful] @ vectors.T
    return directions
