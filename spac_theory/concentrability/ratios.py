"""Density-ratio coverage: what the theory of DPO, χPO and HyPO asks of the data.

`C(π*)` of :mod:`spac_theory.concentrability.linear` sees reward differences; these see probabilities.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spac_theory import checks


def density_ratio(policy: Tensor, behaviour: Tensor) -> Tensor:
    """`π(a|x)/μ(a|x)`, `(X, A)`; 0 where `π = 0`, infinite where `μ = 0 < π`."""
    ratio = policy / behaviour
    return torch.where(policy == 0, 0.0, ratio)


def largest_ratio(policy: Tensor, behaviour: Tensor) -> float:
    """`max_{x,a} π/μ`: the L∞ single-policy coefficient."""
    return float(density_ratio(policy, behaviour).max())


def mean_ratio(policy: Tensor, behaviour: Tensor, rho: Tensor) -> float:
    """`E_{x, a~π}[π/μ] = 1 + 2 D_χ²(π‖μ)`: the L1 coefficient of χPO."""
    ratio = density_ratio(policy, behaviour)
    terms = torch.where(policy == 0, 0.0, policy * ratio)
    return float((rho[:, None] * terms).sum())


def every_policy_ratio(behaviour: Tensor) -> float:
    """`max_{x,a} 1/μ(a|x)`: the density ratio of the worst policy."""
    smallest = float(behaviour.min())
    return 1 / smallest if smallest > 0 else float("inf")


def coverability(actions: int) -> float:
    """`inf_ν max_π max_{x,a} π/ν = A` for the class of all policies: XPO's coefficient.

    The worst policy puts all on one action, so the best `ν` is uniform.
    """
    return float(checks.integer("actions", actions, low=1))


def kl_ball_ratio(behaviour: Tensor, rho: Tensor, radius: float) -> float:
    """`max π(a|x)/μ(a|x)` over policies with `E_x KL(π‖μ) ≤ radius`: HyPO's local coefficient.

    The whole budget may go to one context, and the other actions keep their proportions; what is
    left is the largest `p` with `p log(p/q) + (1 − p) log((1 − p)/(1 − q)) ≤ radius/ρ(x)`.
    """
    checks.number("radius", radius, low=0)
    q = behaviour.clamp_min(1e-300)
    budget = (radius / rho.clamp_min(1e-300))[:, None].expand_as(q)
    low, high = q.clone(), torch.ones_like(q)
    for _ in range(100):
        p = (low + high) / 2
        divergence = p * (p / q).log() + torch.xlogy(1 - p, (1 - p) / (1 - q).clamp_min(1e-300))
        inside = divergence <= budget
        low, high = torch.where(inside, p, low), torch.where(inside, high, p)
    return float((low / q)[(behaviour > 0) & (rho[:, None] > 0)].max())
