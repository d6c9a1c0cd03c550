"""How well data cover a policy: the concentrability `C(π_c)` of theory (8) and its relatives."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory import checks

RANGE_TOLERANCE = 1e-9
ROUNDING = 1e-12
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


@dataclass(frozen=True)
class InverseCovariance:
    """The pseudo-inverse of `Σ` on its range, and the test of who leaves that range.

    Eigenvalues below `RANGE_TOLERANCE` times the largest count as 0; a vector with more than
    `√RANGE_TOLERANCE` of its length outside the range has infinite norm, unless what is outside is
    shorter than `rounding`: the difference of two equal means is not 0 in floating point.
    """

    vectors: Tensor
    values: Tensor
    rounding: float = 0.0

    @staticmethod
    def of(covariance: Tensor, features: Tensor | None = None) -> InverseCovariance:
        """Eigendecomposition of a symmetric positive semidefinite `(d, d)` matrix.

        `features (..., d)` set the scale of `rounding` for vectors that are averages of them.
        """
        values, vectors = torch.linalg.eigh((covariance + covariance.T) / 2)
        longest = 0.0 if features is None else float(features.norm(dim=-1).max())
        return InverseCovariance(vectors, values.clamp_min(0), ROUNDING * longest)

    def squared_norm(self, v: Tensor) -> Tensor:
        """`‖v‖²_{Σ⁻¹}`: `(..., d) -> (...)`, infinite where `v` leaves the range of `Σ`."""
        along = v @ self.vectors
        kept = self.values > RANGE_TOLERANCE * self.values.max().clamp_min(1e-300)
        inside = along[..., kept]
        outside = along[..., ~kept].norm(dim=-1)
        norm = (inside**2 / self.values[kept]).sum(-1)
        allowed = math.sqrt(RANGE_TOLERANCE) * v.norm(dim=-1)
        leaves = outside > allowed.clamp_min(self.rounding)
        return torch.where(leaves, torch.inf, norm)


def single_policy_concentrability(
    features: Tensor, rho: Tensor, pairs: Tensor, policy: Tensor, baseline: Tensor
) -> Tensor:
    """`C(π) = ‖ψ(π) − ψ(ν)‖²_{Σ⁻¹}`, theory (8) for a linear class: `(..., X, A) -> (...)`.

    Exact for a ball, an upper bound for a reward range. Between 0 and infinity.
    """
    checks.simplex("policy", policy)
    inverse = InverseCovariance.of(pair_covariance(features, rho, pairs), features)
    shift = mean_feature(features, rho, policy) - mean_feature(features, rho, baseline)
    return inverse.squared_norm(shift)


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
    they are few; a table separates over contexts; otherwise ascent gives the lower end and the
    triangle inequality over contexts the upper end.
    """
    inverse = InverseCovariance.of(pair_covariance(features, rho, pairs), features)
    centre = torch.einsum("xa,xad->xd", baseline, features)
    shifts = rho[:, None, None] * (features - centre[:, None, :])  # (X, A, d)
    contexts, actions, _ = shifts.shape
    norms = inverse.squared_norm(shifts)
    if bool(torch.isinf(norms).any()):
        return AllPolicy(math.inf, math.inf)
    if contexts <= MAX_COMPARED and _separates(shifts, inverse):
        total = float(norms.max(-1).values.sum())
        return AllPolicy(total, total)
    if actions**contexts <= MAX_ENUMERATED:
        choices = torch.tensor(list(itertools.product(range(actions), repeat=contexts)))
        sums = shifts[torch.arange(contexts), choices].sum(1)
        best = float(inverse.squared_norm(sums).max())
        return AllPolicy(best, best)
    upper = float(norms.max(-1).values.sqrt().sum() ** 2)
    return AllPolicy(_ascent(shifts, inverse, norms), upper)


def _separates(shifts: Tensor, inverse: InverseCovariance) -> bool:
    """Whether the shifts of different contexts are orthogonal in `Σ⁻¹` (a table)."""
    kept = inverse.values > RANGE_TOLERANCE * inverse.values.max()
    scaled = shifts @ inverse.vectors[:, kept] / inverse.values[kept].sqrt()
    gram = torch.einsum("xad,ybd->xyab", scaled, scaled).abs().amax((-2, -1))
    off = gram - torch.diag(torch.diagonal(gram))
    return bool(off.max() <= 1e-9 * gram.max().clamp_min(1e-300))


def _ascent(shifts: Tensor, inverse: InverseCovariance, norms: Tensor) -> float:
    """Alternate between the direction of `Σ^{-1/2} Σ_x shift` and the best action in it.

    Each round can only raise the norm, which is convex in the policy. Starts: the policy of the
    largest norms, and random directions.
    """
    kept = inverse.values > RANGE_TOLERANCE * inverse.values.max()
    scaled = shifts @ inverse.vectors[:, kept] / inverse.values[kept].sqrt()  # (X, A, k)
    rows = torch.arange(len(shifts))
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(scaled.shape[-1], ASCENT_STARTS, generator=generator, dtype=torch.float64)
    first = scaled[rows, norms.argmax(-1)].sum(0)
    directions = torch.cat([first[:, None], random], 1)
    best = torch.zeros(())
    for _ in range(50):
        choice = (scaled @ directions).argmax(1)  # (X, starts)
        directions = scaled[rows[:, None], choice].sum(0).T
        value = (directions**2).sum(0).max()
        if value <= best * (1 + 1e-12):
            break
        best = value
    return float(best)
