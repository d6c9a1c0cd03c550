"""The local two-point lower bound, and the search for the rival that makes it largest.

For any `r′` of the class no algorithm has expected suboptimality below

    (Δ/4) exp(−n KL_μ(P_{r*} ‖ P_{r′})),    Δ = E_x[max r* + max r′ − max(r* + r′)],

at both `r*` and `r′`. Every `r′` gives a valid bound, so the search need not be exact, and what it
finds is evaluated exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.concentrability import InverseCovariance, pair_covariance
from spac_theory.links import BRADLEY_TERRY, Link
from spac_theory.objective import tabular_margins
from spac_theory.rewards.base import RewardClass
from spac_theory.rewards.finite import FiniteClass
from spac_theory.rewards.linear import LinearClass

STEPS = torch.logspace(-5, 1.5, 40, dtype=torch.float64)
RANDOM_DIRECTIONS = 32
CHUNK = 500


def separation(rho: Tensor, reward: Tensor, rival: Tensor) -> Tensor:
    """`Δ`, the least that the suboptimalities of one policy under both rewards sum to, `(...)`."""
    best = reward.amax(-1) + rival.amax(-1) - (reward + rival).amax(-1)
    return (rho * best).sum(-1)


def divergence(
    rho: Tensor, reward: Tensor, rival: Tensor, pairs: Tensor, link: Link = BRADLEY_TERRY
) -> Tensor:
    """`KL_μ(P_{r*} ‖ P_{r′})` of one comparison; `rival (..., X, A)` → `(...)`."""
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
    kl = divergence(rho, reward, rival, pairs, link).unsqueeze(-1)
    delta = separation(rho, reward, rival).unsqueeze(-1)
    return delta / 4 * torch.exp(-n.to(torch.float64) * kl)


@dataclass(frozen=True)
class LowerBound:
    """For each `n (S,)` the largest bound found and the rival `(S, X, A)` that gives it."""

    value: Tensor
    rival: Tensor


def local_lower_bound(
    reward_class: RewardClass,
    rho: Tensor,
    reward: Tensor,
    pairs: Tensor,
    n: Tensor,
    link: Link = BRADLEY_TERRY,
) -> LowerBound:
    """The two-point bound maximised over the class, by enumeration or by search; `n (S,)`."""
    rivals = _rivals(reward_class, rho, reward, pairs)
    values = torch.cat(
        [two_point_bound(rho, reward, part, pairs, n, link) for part in rivals.split(CHUNK)]
    )
    best, index = values.max(0)
    return LowerBound(best, rivals[index])


def _rivals(cls: RewardClass, rho: Tensor, reward: Tensor, pairs: Tensor) -> Tensor:
    """Members worth trying, `(K, X, A)`."""
    if isinstance(cls, FiniteClass):
        return cls.members
    assert isinstance(cls, LinearClass), "the search needs a finite, linear or kernel class"
    directions = _directions(cls, rho, reward, pairs)
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
    wanted = torch.cat([shifts.flatten(0, 1), mixed, runners[None]])
    inverse = InverseCovariance.of(pair_covariance(cls.features, rho, pairs))
    floor = 1e-9 * inverse.values.max()
    along = wanted @ inverse.vectors / inverse.values.clamp_min(floor)
    norm = ((along**2) * inverse.values.clamp_min(floor)).sum(-1, keepdim=True).sqrt()
    useful = norm.squeeze(-1) > 1e-12
    directions: Tensor = (along / norm.clamp_min(1e-300))[useful] @ inverse.vectors.T
    return directions
