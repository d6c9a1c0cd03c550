"""The ball `‖θ‖ ≤ B` as a second-order cone, with the Nesterov–Todd scaling of one Newton step.

The cone is `Q = {(s₀, s₁) : s₀ ≥ ‖s₁‖}` with `s = (B, θ)` and multiplier `y = (y₀, y₁) ∈ Q`. A
logarithmic barrier alone steps badly along a sphere; the scaling point of Nesterov and Todd (1997)
makes primal and dual symmetric, and the ball then costs no more iterations than the boxes do. The
curvature it adds to the Newton matrix is a multiple of the identity plus one rank.

Numbers of a lane are columns `(S, 1)`, so that they scale vectors `(S, p)` as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def dot(a: Tensor, b: Tensor) -> Tensor:
    """`aᵀb` of every lane, `(S, 1)`."""
    return (a * b).sum(-1, keepdim=True)


@dataclass(frozen=True)
class ConePoint:
    """A point `(s₀, s₁)` of each lane: shapes `(S, 1)` and `(S, p)`."""

    head: Tensor
    tail: Tensor

    def __add__(self, other: ConePoint) -> ConePoint:
        return ConePoint(self.head + other.head, self.tail + other.tail)

    def jordan(self, other: ConePoint) -> ConePoint:
        """The Jordan product `s ∘ y = (sᵀy, s₀ y₁ + y₀ s₁)`."""
        head = torch.addcmul(dot(self.tail, other.tail), self.head, other.head)
        return ConePoint(head, torch.addcmul(self.head * other.tail, other.head, self.tail))


class Scaling:
    """Nesterov–Todd scaling `W` with `W y = W⁻¹ s = λ` of an interior pair `s = (B, θ)` and `y`.

    `det_s` is `B² − ‖θ‖²`, passed in because the caller tracks it without cancellation. `W⁻²` has
    `shift · I + rank_one · w₁w₁ᵀ` as its `θθ` block; `product` is `sᵀy`.
    """

    def __init__(self, radius: float, theta: Tensor, det_s: Tensor, y: ConePoint) -> None:
        norm = y.tail.norm(dim=-1, keepdim=True)
        root_s = det_s.sqrt()
        root_y = ((y.head - norm) * (y.head + norm)).clamp_min(1e-300).sqrt()
        self.y, self.det = y, root_s * root_y
        self.product = torch.add(dot(theta, y.tail), y.head, alpha=radius)
        half = (2 + 2 * self.product / self.det).sqrt()
        per_s, per_y = (half * root_s).reciprocal(), (half * root_y).reciprocal()
        self.w0 = torch.addcmul(radius * per_s, y.head, per_y)
        self.w1 = torch.addcmul(theta * per_s, y.tail, per_y, value=-1)
        self.shift = root_y / root_s
        self.rank_one = 2 * self.shift
        self.scale = self.shift.sqrt()
        self.lam = self._unscale(radius, theta, dot(self.w1, theta))

    def _unscale(self, head: Tensor | float, tail: Tensor, along: Tensor) -> ConePoint:
        """`W⁻¹` of a point of which `along` is `w₁ᵀ` of its tail."""
        back = self.scale * (along / (1 + self.w0) - head)
        first = self.scale * (self.w0 * head - along)
        return ConePoint(first, torch.addcmul(self.scale * tail, back, self.w1))

    def _divide(self, r: ConePoint) -> ConePoint:
        """Solve `λ ∘ x = r`."""
        lam, det = self.lam, self.det.clamp_min(1e-300)
        head = (lam.head * r.head - dot(lam.tail, r.tail)) / det
        return ConePoint(head, torch.addcmul(r.tail, head, lam.tail, value=-1) / lam.head)

    def target(self, tau: Tensor, ds: Tensor, along: Tensor, share: Tensor | None) -> ConePoint:
        r"""`−y + W⁻¹(λ \ (τ e − (W⁻¹ ds)∘(W dy)))`: the change of `y` at a change of 0 of `s`.

        `(0, ds)` and `dy` are the step towards `s ∘ y = 0`, so that `W dy = −λ − W⁻¹ ds`; of the product
        only a `share (S, 1)` is taken. `along` is `w₁ᵀ ds`.
        """
        v = self._unscale(0.0, ds, along)
        product = v.jordan(self.lam + v)
        if share is not None:
            product = ConePoint(share * product.head, share * product.tail)
        x = self._divide(ConePoint(tau + product.head, product.tail))
        lift = self._unscale(x.head, x.tail, dot(self.w1, x.tail))
        return ConePoint(lift.head - self.y.head, lift.tail - self.y.tail)

    def head_change(self, along: Tensor) -> Tensor:
        """The first component of `−W⁻² (0, dθ)` for `along = w₁ᵀ dθ`, `(S, 1)`."""
        return self.rank_one * self.w0 * along


def longest_step(a: Tensor, b: Tensor, det: Tensor) -> Tensor:
    """The smallest positive root of `a α² + 2 b α + det`, `det > 0`, infinite where there is none.

    It is the largest `α` with `x + α d` in the cone for `det = x₀² − ‖x₁‖²`, `b = x₀ d₀ − x₁ᵀd₁` and
    `a = d₀² − ‖d₁‖²`.
    """
    divisor = torch.addcmul(b * b, a, det, value=-1).sqrt() - b  # NaN: no root
    return torch.where(divisor > 0, det / divisor, torch.inf)
