"""The ball `‖θ‖ ≤ B` as a second-order cone, with the Nesterov–Todd scaling of one Newton step.

The cone is `Q = {(s₀, s₁) : s₀ ≥ ‖s₁‖}` with `s = (B, θ)` and multiplier `y = (y₀, y₁) ∈ Q`. A
logarithmic barrier alone steps badly along a sphere; the scaling point of Nesterov and Todd (1997)
makes primal and dual symmetric, and the ball then costs no more iterations than the boxes do. The
curvature it adds to the Newton matrix is a multiple of the identity plus one rank.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ConePoint:
    """A point `(s₀, s₁)` of each lane: shapes `(S,)` and `(S, p)`."""

    head: Tensor
    tail: Tensor

    def dot(self, other: ConePoint) -> Tensor:
        """`sᵀy`, `(S,)`."""
        return self.head * other.head + (self.tail * other.tail).sum(-1)

    def jordan(self, other: ConePoint) -> ConePoint:
        """The Jordan product `s ∘ y = (sᵀy, s₀ y₁ + y₀ s₁)`."""
        tail = self.head[:, None] * other.tail + other.head[:, None] * self.tail
        return ConePoint(self.dot(other), tail)

    def combine(self, scale: float, other: ConePoint) -> ConePoint:
        """`self + scale · other`."""
        return ConePoint(self.head + scale * other.head, self.tail + scale * other.tail)


class Scaling:
    """Nesterov–Todd scaling `W` with `W y = W⁻¹ s = λ` of an interior pair `(s, y)`.

    `det_s` is `s₀² − ‖s₁‖²`, passed in because the caller tracks it without cancellation.
    """

    def __init__(self, s: ConePoint, det_s: Tensor, y: ConePoint) -> None:
        norm = y.tail.norm(dim=-1)
        det_y = ((y.head - norm) * (y.head + norm)).clamp_min(1e-300)
        root_s, root_y = det_s.sqrt(), det_y.sqrt()
        inner = s.dot(y) / (root_s * root_y)
        half = 2 * ((1 + inner) / 2).sqrt()
        self.w0 = (s.head / root_s + y.head / root_y) / half
        self.w1 = (s.tail / root_s[:, None] - y.tail / root_y[:, None]) / half[:, None]
        self.eta2 = root_s / root_y
        self.y, self.lam = y, self.unscale(s)

    @property
    def shift(self) -> Tensor:
        """The multiple of the identity in the `θθ` block of `W⁻²`, `(S,)`."""
        return 1 / self.eta2

    @property
    def rank_one(self) -> Tensor:
        """Coefficient of `w₁w₁ᵀ` in the same block, `(S,)`."""
        return 2 / self.eta2

    def _apply(self, v: ConePoint, sign: float, eta: Tensor) -> ConePoint:
        inner = (self.w1 * v.tail).sum(-1)
        head = self.w0 * v.head + sign * inner
        along = inner / (1 + self.w0) + sign * v.head
        return ConePoint(eta * head, eta[:, None] * (v.tail + along[:, None] * self.w1))

    def scale(self, v: ConePoint) -> ConePoint:
        """`W v`."""
        return self._apply(v, 1.0, self.eta2.sqrt())

    def unscale(self, v: ConePoint) -> ConePoint:
        """`W⁻¹ v`."""
        return self._apply(v, -1.0, self.eta2.rsqrt())

    def divide(self, r: ConePoint) -> ConePoint:
        """Solve `λ ∘ x = r`."""
        lam = self.lam
        det = lam.head**2 - (lam.tail**2).sum(-1)
        head = (lam.head * r.head - (lam.tail * r.tail).sum(-1)) / det.clamp_min(1e-300)
        return ConePoint(head, (r.tail - head[:, None] * lam.tail) / lam.head[:, None])

    def target(self, tau: Tensor, ds: Tensor, along: Tensor, share: Tensor | None) -> ConePoint:
        r"""`−y + W⁻¹(λ \ (τ e − (W⁻¹ ds)∘(W dy)))`: the change of `y` at a change of 0 of `s`.

        `(0, ds)` and `dy` are the step towards `s ∘ y = 0`, so that `W dy = −λ − W⁻¹ ds`; of the product
        only a `share (S,)` is taken. `along` is `w₁ᵀ ds`.
        """
        back = along / (1 + self.w0)
        scale = self.eta2.rsqrt()
        v = ConePoint(-scale * along, scale[:, None] * (ds + back[:, None] * self.w1))
        product = v.jordan(self.lam.combine(1.0, v))
        if share is not None:
            product = ConePoint(share * product.head, share[:, None] * product.tail)
        lift = self.unscale(self.divide(ConePoint(tau + product.head, product.tail)))
        return lift.combine(-1.0, self.y)

    def head_change(self, along: Tensor) -> Tensor:
        """The first component of `−W⁻² (0, dθ)` for `along = w₁ᵀ dθ`, `(S,)`."""
        return 2 * self.w0 * along / self.eta2


def longest_step(head: Tensor, tail: Tensor, d_head: Tensor, d_tail: Tensor, det: Tensor) -> Tensor:
    """Largest `α` with `(head, tail) + α (d_head, d_tail)` in the cone, `det = head² − ‖tail‖² > 0`."""
    a = d_head**2 - (d_tail**2).sum(-1)
    b = head * d_head - (tail * d_tail).sum(-1)
    return quadratic_step(a, b, det)


def quadratic_step(a: Tensor, b: Tensor, det: Tensor) -> Tensor:
    """The smallest positive root of `a α² + 2 b α + det`, `det > 0`, infinite where there is none."""
    discriminant = b * b - a * det
    divisor = discriminant.clamp_min(0).sqrt() - b
    blocked = (discriminant >= 0) & (divisor > 0)
    return torch.where(blocked, det / divisor.clamp_min(1e-300), torch.inf)
