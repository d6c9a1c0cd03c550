"""The regulariser `D_χ² + KL` of χPO: its link `φ(z) = z + log z` and its closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from spac_theory import checks


def inverse_phi(u: Tensor) -> Tensor:
    """`w` with `w + log w = u`, that is Lambert's `W₀(e^u)`, without overflow.

    Newton on `v = log w`: `e^v + v = u` is convex and increasing, and the start lies to the right.
    """
    v = torch.where(u <= 0, u, torch.where(u < 1, 0.0, u.clamp_min(1).log()))
    for _ in range(12):
        e = v.exp()
        v = v - (e + v - u) / (e + 1)
    return v.exp()


def chi_squared_tilt(reference: Tensor, reward: Tensor, beta: float) -> Tensor:
    """`argmax_π E_π[r] − β(D_χ²(π‖π_ref) + KL(π‖π_ref))`, `D_χ² = ½ E_ref[(π/π_ref − 1)²]`.

    `π = π_ref W₀(exp((r − Z)/β))`; `Z(x)` by bisection so that each row sums to 1.
    """
    checks.number("beta", beta, low=0, open_low=True)
    low = reward.min(-1, keepdim=True).values - beta
    high = reward.max(-1, keepdim=True).values - beta
    for _ in range(80):
        middle = (low + high) / 2
        large = (reference * inverse_phi((reward - middle) / beta)).sum(-1, keepdim=True) > 1
        low, high = torch.where(large, middle, low), torch.where(large, high, middle)
    policy = reference * inverse_phi((reward - (low + high) / 2) / beta)
    return policy / policy.sum(-1, keepdim=True)
