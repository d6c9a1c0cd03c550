"""A ball of a reproducing kernel Hilbert space: `𝓡 = {r ∈ H_k : ‖r‖ ≤ B}`, kernel on `(x, a)`.

Everything the game asks of a reward happens at the finitely many points `(x, a)` at hand, so by the
representer theorem `r = K α` with `‖r‖² = αᵀ K α`. With `K = Φ Φᵀ` this is the linear class of the
features `Φ` and the same norm bound: solvers, certificates and concentrability are those of
:class:`~spac_theory.rewards.linear.LinearClass`. Only the covering number is the kernel's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.rewards.linear import LinearClass

EIGENVALUE_TOLERANCE = 1e-12
Kernel = Callable[[Tensor, Tensor], Tensor]


def rbf(length: float = 1.0) -> Kernel:
    """`k(z, z′) = exp(−‖z − z′‖² / (2 length²))`."""
    length = checks.number("length", length, low=0, open_low=True)
    return lambda z, y: torch.exp(-(torch.cdist(z, y) ** 2) / (2 * length**2))


def matern(smoothness: float = 1.5, length: float = 1.0) -> Kernel:
    """The Matérn kernel of smoothness 1/2, 3/2 or 5/2."""
    checks.choice("smoothness", str(smoothness), ("0.5", "1.5", "2.5"))
    length = checks.number("length", length, low=0, open_low=True)

    def kernel(z: Tensor, y: Tensor) -> Tensor:
        s = math.sqrt(2 * smoothness) * torch.cdist(z, y) / length
        front = {0.5: torch.ones_like(s), 1.5: 1 + s, 2.5: 1 + s + s**2 / 3}[smoothness]
        return front * torch.exp(-s)

    return kernel


def polynomial(degree: int = 2, offset: float = 1.0) -> Kernel:
    """`k(z, z′) = (zᵀz′ + offset)^degree`; degree 1 and offset 0 give the linear kernel."""
    checks.integer("degree", degree, low=1)
    checks.number("offset", offset, low=0)
    return lambda z, y: (z @ y.T + offset) ** degree


@dataclass(frozen=True)
class KernelClass(LinearClass):
    """The linear class of a kernel's features at the points at hand; build it with `of`."""

    @staticmethod
    def of(points: Tensor, kernel: Kernel, norm_bound: float) -> KernelClass:
        """The class on `points (X, A, k)`, the coordinates of each `(x, a)`; `norm_bound` is `B`."""
        points = checks.as_tensor("points", points, (None, None, None))
        flat = points.flatten(0, 1)
        gram = kernel(flat, flat)
        values, vectors = torch.linalg.eigh((gram + gram.T) / 2)
        kept = values > EIGENVALUE_TOLERANCE * values[-1]
        order = torch.argsort(values[kept], descending=True)
        features = (vectors[:, kept] * values[kept].sqrt())[:, order]
        return KernelClass(features.reshape(*points.shape[:2], -1), norm_bound=norm_bound)

    def log_covering(self, radius: float) -> float:
        """Upper bound on the log covering number that uses the decay of the spectrum.

        Keep the `k` leading eigendirections and cover them to `ε/2`; the rest of the ball has sup
        norm at most `B max_z √(Σ_{i>k} φ_i(z)²)`, and `k` is the smallest number for which that is
        at most `ε/2`. Truncation does not raise the norm, so the centres are members. The bound
        `d log(1 + 2BL/ε)` of the full dimension is used if it is smaller.
        """
        epsilon = checks.number("radius", radius, low=0, open_low=True)
        assert self.norm_bound is not None
        squares = self.features.flatten(0, 1) ** 2
        tails = squares.sum(-1, keepdim=True) - squares.cumsum(-1)  # (points, d)
        worst = self.norm_bound * tails.clamp_min(0).amax(0).sqrt()
        small = (worst <= epsilon / 2).nonzero()
        kept = int(small[0]) + 1 if len(small) else self.dimension
        largest = float(squares.sum(-1).max().sqrt())
        leading = kept * math.log1p(4 * self.norm_bound * largest / epsilon)
        return min(leading, super().log_covering(radius))
