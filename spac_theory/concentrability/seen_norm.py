"""The norm in which data see a reward, `‖r‖²_μ = E_μ[Δ_r²]`, and its dual over a linear class.

At each context `‖r‖²_μ` is `rᵀ L r` with `L` the graph Laplacian of the comparisons, so a signed
weight `w (X, A)` splits into

    w = L^{1/2} u + w₀,      w₀ constant on every group of actions that comparisons connect,

and with `M = L^{1/2} Φ` (`Φ` the features)

    sup_θ (wᵀ Φ θ)² / ‖Φθ‖²_μ = ‖u‖² on the range of M      if Φᵀ w₀ = 0.

What the comparisons connect is then never a matter of the spectrum of `Σ = MᵀM`: a smooth kernel, whose
`Σ` has eigenvalues down to nothing, has a finite answer, and the rank decides only whether a direction
counts at all (its part of `u`), never by a division by a small number. If `Φᵀ w₀ ≠ 0` the class must
extrapolate from the actions compared to those that are not; then the range of `Σ` decides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

EDGE_TOLERANCE = 1e-12
RANK_TOLERANCE = 1e-12
RANGE_TOLERANCE = 1e-9
ROUNDING = 1e-12


@dataclass(frozen=True)
class SeenNorm:
    """The dual norm of `‖·‖_μ` over `{Φθ}`, ready for many weights.

    Comparisons lighter than `EDGE_TOLERANCE` times the heaviest of their context count as none, and
    singular values of `M` below `RANK_TOLERANCE` times the largest as 0. Where the class has to
    extrapolate, eigenvalues of `Σ` below `RANGE_TOLERANCE` times the largest count as 0, and a vector with
    more than `√RANGE_TOLERANCE` of its length outside the range has infinite norm, unless what is
    outside is shorter than `rounding`: the difference of two equal means is not 0 in floating point.
    """

    features: Tensor  # (X, A, d)
    groups: Tensor  # (X, A, A) the mean over each connected group
    inverse_root: Tensor  # (X, A, A) L^{-1/2} off the groups
    left: Tensor  # (X, A, k) left singular vectors of M
    within: Tensor  # (d, k0) right singular vectors that span the range of Σ
    carry: Tensor  # (d, k) from Φᵀw₀ in that range to coordinates
    rounding: float

    @staticmethod
    def of(features: Tensor, weight: Tensor) -> SeenNorm:
        """`features (X, A, d)`; `weight (X, A, A)` how often each pair is compared, `ρ(x) μ(a,b|x)`."""
        contexts, actions, dimension = features.shape
        weight = weight + weight.transpose(-1, -2)
        weight = weight * (1 - torch.eye(actions, dtype=torch.float64))
        heaviest = weight.amax((-2, -1), keepdim=True)
        weight = torch.where(weight > EDGE_TOLERANCE * heaviest, weight, 0.0)
        groups = _groups(weight > 0)
        laplacian = torch.diag_embed(weight.sum(-1)) - weight
        level = torch.where(heaviest > 0, heaviest, 1.0)
        values, vectors = torch.linalg.eigh(laplacian + level * groups)
        values = values.clamp_min(1e-300)
        off = torch.eye(actions, dtype=torch.float64) - groups
        root, inverse = (
            (vectors * values.unsqueeze(-2) ** power) @ vectors.transpose(-1, -2) @ off
            for power in (0.5, -0.5)
        )
        rounding = ROUNDING * float(features.norm(dim=-1).max())
        flat = features.flatten(0, 1)
        if dimension == len(flat) and bool((flat == torch.eye(dimension)).all()):
            left, none = (
                features,
                features.new_zeros(dimension, dimension),
            )  # a table: no singular values
            return SeenNorm(features, groups, inverse, left, none[:, :0], none, rounding)
        left, singular, right = torch.linalg.svd(
            (root @ features).flatten(0, 1), full_matrices=False
        )
        kept = singular > RANK_TOLERANCE * singular.max().clamp_min(1e-300)
        far = singular > math.sqrt(RANGE_TOLERANCE) * singular.max().clamp_min(1e-300)
        carry = torch.where(far, right.T / singular.clamp_min(1e-300), 0.0)[:, kept]
        left = left[:, kept].reshape(contexts, actions, -1)
        return SeenNorm(features, groups, inverse, left, right[far].T, carry, rounding)

    def coordinates(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates `(..., k)` whose squared length is the squared dual norm of `weight (..., X, A)`.

        With them `(...)` bool: where it leaves the range, and its norm is infinite.
        """
        weight = weight - weight.mean(-1, keepdim=True)  # two policies: 0 already, up to rounding
        u = torch.einsum("xab,...xb->...xa", self.inverse_root, weight)
        off = torch.einsum("xab,...xb->...xa", self.groups, weight)
        return self._finish(
            torch.einsum("...xa,xak->...k", u, self.left),
            torch.einsum("...xa,xad->...d", off, self.features),
            torch.einsum("...xa,xad->...d", weight, self.features),
        )

    def coordinates_of_actions(self, rho: Tensor, baseline: Tensor) -> tuple[Tensor, Tensor]:
        """The same of `ρ(x) (e_a − ν(x))` for every `(x, a)`: `(X, A, k)` and `(X, A)`.

        Coordinates add up over contexts, so these are the building blocks of every policy.
        """
        one = torch.eye(baseline.shape[-1], dtype=torch.float64)
        weight = rho[:, None, None] * (one - baseline[:, None, :])  # (X, A, A)
        return self._finish(
            torch.einsum("xab,xcb,xak->xck", self.inverse_root, weight, self.left),
            torch.einsum("xab,xcb,xad->xcd", self.groups, weight, self.features),
            torch.einsum("xcb,xbd->xcd", weight, self.features),
        )

    def norms_of_all_functions(self, rho: Tensor, baseline: Tensor) -> Tensor:
        """`(X, A)`: the same squared norms over all functions instead of `{Φθ}`, an upper bound."""
        one = torch.eye(baseline.shape[-1], dtype=torch.float64)
        weight = rho[:, None, None] * (one - baseline[:, None, :])
        u = torch.einsum("xab,xcb->xca", self.inverse_root, weight)
        off = torch.einsum("xab,xcb->xca", self.groups, weight).norm(dim=-1)
        return torch.where(off > ROUNDING, torch.inf, (u**2).sum(-1))

    def _finish(self, inner: Tensor, off: Tensor, whole: Tensor) -> tuple[Tensor, Tensor]:
        """Add what extrapolation allows (`off = Φᵀw₀`) and mark what it does not."""
        outside = (off - (off @ self.within) @ self.within.T).norm(dim=-1)
        allowed = math.sqrt(RANGE_TOLERANCE) * whole.norm(dim=-1)
        return inner + off @ self.carry, outside > allowed.clamp_min(self.rounding)

    def squared_norm(self, weight: Tensor) -> Tensor:
        """`sup_θ (wᵀΦθ)²/‖Φθ‖²_μ`, `(..., X, A) -> (...)`, infinite where `w` leaves the range."""
        coordinates, leaves = self.coordinates(weight)
        return torch.where(leaves, torch.inf, (coordinates**2).sum(-1))


def _groups(edges: Tensor) -> Tensor:
    """The projection onto functions constant on connected groups: `(X, A, A)` bool to `(X, A, A)`."""
    actions = edges.shape[-1]
    reach = (edges | torch.eye(actions, dtype=torch.bool)).to(torch.float64)
    for _ in range(max(1, math.ceil(math.log2(actions)))):
        reach = (reach @ reach > 0).to(torch.float64)
    return reach / reach.sum(-1, keepdim=True)
