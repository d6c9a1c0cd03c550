"""How well data cover a policy: the concentrability `C(π_c)` of theory (8) and its relatives."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.concentrability.seen_norm import SeenNorm

MAX_ENUMERATED = 20_000
MAX_COMPARED = 200
ASCENT_STARTS = 32


def pair_covariance(features: Tensor, rho: Tensor, pairs: Tensor) -> Tensor:
    """`Σ = E_{x,(a,b)~μ}[(φ_a − φ_b)(φ_a − φ_b)ᵀ]`, `(d, d)`.

    `features (X, A, d)`, `rho (X,)`, `pairs (X, A, A)` the joint law `μ(a,b|x)`.
    """
    weight = rho[:, None, None] * (pairs + pairs.transpose(-1, -2))
    laplacian = torch.diag_embed(weight.sum(-1)) - weight
    return torch.einsum("xad,xab,xbe->de", features, laplacian, features)


def mean_feature(features: Tensor, rho: Tensor, policy: Tensor) -> Tensor:
    """`ψ(π) = E_{x~ρ, a~π}[φ(x,a)]`: `policy (..., X, A) -> (..., d)`."""
    return torch.einsum("x,...xa,xad->...d", rho, policy, features)


def single_policy_concentrability(
    features: Tensor, rho: Tensor, pairs: Tensor, policy: Tensor, baseline: Tensor
) -> Tensor:
    """`C(π) = ‖ψ(π) − ψ(ν)‖²_{Σ⁻¹}`, theory (8) for a linear class: `(..., X, A) -> (...)`.

    Exact for a ball, an upper bound for a reward range. Between 0 and infinity; the tolerances are those
    of :class:`~spac_theory.concentrability.seen_norm.SeenNorm`.
    """
    checks.simplex("policy", policy)
    seen = SeenNorm.of(features, rho[:, None, None] * pairs)
    return seen.squared_norm(rho[:, None] * (policy - baseline))


def ridge_concentrability(
    features: Tensor, rho: Tensor, pairs: Tensor, policy: Tensor, baseline: Tensor, ridge: float
) -> Tensor:
    """`C_γ(π) = ‖ψ(π) − ψ(ν)‖²_{(Σ + γI)⁻¹}`, `(..., X, A) -> (...)`: finite for every policy.

    It never exceeds `C(π)`, falls in `γ = ridge > 0`, and bounds the claim of a ball's member `θ` by
    `(E[Δ_r − Δ_{r*}])² ≤ C_γ (E_μ[(Δ_r − Δ_{r*})²] + γ ‖θ − θ*‖²)`.
    """
    checks.number("ridge", ridge, low=0, open_low=True)
    checks.simplex("policy", policy)
    one = torch.eye(features.shape[-1], dtype=torch.float64)
    factor = torch.linalg.cholesky(pair_covariance(features, rho, pairs) + ridge * one)
    shift = mean_feature(features, rho, policy) - mean_feature(features, rho, baseline)
    half = torch.linalg.solve_triangular(factor, shift.reshape(-1, len(one)).T, upper=False)
    return (half**2).sum(0).reshape(shift.shape[:-1])


@dataclass(frozen=True)
class AllPolicy:
    """`sup_π C(π)` as an interval; `exact` when both ends agree."""

    lower: float
    upper: float

    @property
    def exact(self) -> bool:
        """Whether the supremum is known (to a relative 1e-9)."""
        return self.upper == self.lower or self.upper - self.lower <= 1e-9 * self.upper


def all_policy_concentrability(
    features: Tensor, rho: Tensor, pairs: Tensor, baseline: Tensor
) -> AllPolicy:
    """`sup_π C(π)`: what greedy maximum likelihood and DPO need, and SPAC does not.

    `C` is convex in `π`, so the supremum is at a deterministic policy. Those are enumerated when
    they are few; a table separates over contexts; otherwise ascent gives the lower end, and the upper end
    is the smaller of the triangle inequality over contexts and the supremum over all functions.
    """
    seen = SeenNorm.of(features, rho[:, None, None] * pairs)
    parts, leaves = seen.coordinates_of_actions(rho, baseline)  # (X, A, k), (X, A)
    if bool(leaves.any()):
        return AllPolicy(math.inf, math.inf)
    contexts, actions, _ = parts.shape
    norms = (parts**2).sum(-1)
    if contexts <= MAX_COMPARED and _separates(parts):
        total = float(norms.max(-1).values.sum())
        return AllPolicy(total, total)
    if actions**contexts <= MAX_ENUMERATED:
        choices = torch.tensor(list(itertools.product(range(actions), repeat=contexts)))
        best = float((parts[torch.arange(contexts), choices].sum(1) ** 2).sum(-1).max())
        return AllPolicy(best, best)
    triangle = float(norms.max(-1).values.sqrt().sum() ** 2)
    every = float(seen.norms_of_all_functions(rho, baseline).max(-1).values.sum())
    lower = _ascent(parts, norms)
    return AllPolicy(lower, max(lower, min(triangle, every)))


def _separates(parts: Tensor) -> bool:
    """Whether the coordinates of different contexts are orthogonal (a table)."""
    gram = torch.einsum("xad,ybd->xyab", parts, parts).abs().amax((-2, -1))
    off = gram - torch.diag(torch.diagonal(gram))
    return bool(off.max() <= 1e-9 * gram.max().clamp_min(1e-300))


def _ascent(parts: Tensor, norms: Tensor) -> float:
    """Alternate between the direction of the sum over contexts and the best action in it.

    Each round can only raise the norm, which is convex in the policy. Starts: the policy of the
    largest norms, and random directions.
    """
    rows = torch.arange(len(parts))
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(parts.shape[-1], ASCENT_STARTS, generator=generator, dtype=torch.float64)
    first = parts[rows, norms.argmax(-1)].sum(0)
    directions = torch.cat([first[:, None], random], 1)
    best = torch.zeros(())
    for _ in range(50):
        choice = (parts @ directions).argmax(1)  # (X, starts)
        directions = parts[rows[:, None], choice].sum(0).T
        value = (directions**2).sum(0).max()
        if value <= best * (1 + 1e-12):
            break
        best = value
    return float(best)
