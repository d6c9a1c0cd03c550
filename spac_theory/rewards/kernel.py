"""A ball of a reproducing kernel Hilbert space: `𝓡 = {r ∈ H_k : ‖r‖ ≤ B}`, kernel on `(x, a)`.

Everything the game asks of a reward happens at the finitely many points `(x, a)` at hand, so by the
representer theorem `r = K α` with `‖r‖² = αᵀ K α`. With `K = Φ Φᵀ` this is the linear class of the
features `Φ` and the same norm bound: solvers, certificates and concentrability are those of
:class:`~spac_theory.rewards.linear.LinearClass`. The kernel's own are the covering number, which
uses the decay of the spectrum, and rewards at other points.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.checks import InputError
from spac_theory.rewards.linear import LinearClass

EIGENVALUE_TOLERANCE = 1e-12
Kernel = Callable[[Tensor, Tensor], Tensor]


def rbf(length: float = 1.0) -> Kernel:
    """`k(z, z′) = exp(−‖z − z′‖² / (2 length²))`; `length` in [1e-9, 1e15]."""
    length = checks.number("length", length, low=1e-9, high=1e15)
    return lambda z, y: torch.exp(-(_distance(z, y) ** 2) / (2 * length**2))


def check_smoothness(field: str, value: Any) -> None:
    """Refuse what is none of 1/2, 3/2 and 5/2."""
    checks.choice(field, str(checks.number(field, value)), ("0.5", "1.5", "2.5"))


def matern(smoothness: float = 1.5, length: float = 1.0) -> Kernel:
    """The Matérn kernel of smoothness 1/2, 3/2 or 5/2; `length` in [1e-9, 1e15]."""
    check_smoothness("smoothness", smoothness)
    length = checks.number("length", length, low=1e-9, high=1e15)

    def kernel(z: Tensor, y: Tensor) -> Tensor:
        s = math.sqrt(2 * smoothness) * _distance(z, y) / length
        front = {0.5: torch.ones_like(s), 1.5: 1 + s, 2.5: 1 + s + s**2 / 3}[float(smoothness)]
        return front * torch.exp(-s)

    return kernel


def polynomial(degree: int = 2, offset: float = 1.0) -> Kernel:
    """`k(z, z′) = (zᵀz′ + offset)^degree`; degree 1 and offset 0 give the linear kernel."""
    checks.integer("degree", degree, low=1)
    checks.number("offset", offset, low=0)
    return lambda z, y: (z @ y.T + offset) ** degree


KERNELS: dict[str, Callable[..., Kernel]] = {"rbf": rbf, "matern": matern, "polynomial": polynomial}


def make_kernel(name: str, **options: float) -> Kernel:
    """The kernel `name` of `KERNELS` with its options."""
    checks.choice("kernel", name, KERNELS)
    try:
        return KERNELS[name](**options)
    except TypeError as error:
        raise InputError(f"kernel {name!r} does not take the options {sorted(options)}.") from error


def _distance(z: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances by differences: the usual shortcut loses half the digits near 0."""
    return torch.cdist(z, y, compute_mode="donot_use_mm_for_euclid_dist")


@dataclass(frozen=True)
class KernelClass(LinearClass):
    """The linear class of a kernel's features at the points at hand; build it with `of`.

    `kernel`, `points (X, A, k)` and `dual (X A, d)` map the parameters to other points:
    `φ(z) = k(z, points) · dual`.
    """

    kernel: Kernel | None = None
    points: Tensor | None = None
    dual: Tensor | None = None

    @staticmethod
    def of(points: Tensor, kernel: Kernel, norm_bound: float) -> KernelClass:
        """The class on `points (X, A, k)`, the coordinates of each `(x, a)`; `norm_bound` is `B`.

        Eigenvalues of the kernel matrix below `EIGENVALUE_TOLERANCE` times the largest count as 0.
        """
        points = checks.as_tensor("points", points, (None, None, None))
        flat = points.flatten(0, 1)
        gram = kernel(flat, flat)
        values, vectors = torch.linalg.eigh((gram + gram.T) / 2)
        if float(values[0]) < -1e-8 * float(values[-1].abs()):
            raise InputError(
                f"kernel has the eigenvalue {float(values[0]):.3g} at these points; a kernel must be "
                "positive semidefinite."
            )
        kept = values > EIGENVALUE_TOLERANCE * values[-1]
        roots, vectors = values[kept].sqrt().flip(0), vectors[:, kept].flip(1)
        features = (vectors * roots).reshape(*points.shape[:2], -1)
        return KernelClass(features, norm_bound, kernel=kernel, points=points, dual=vectors / roots)

    def features_at(self, points: Tensor) -> Tensor:
        """`φ` at other points `(X′, A, k)`, `(X′, A, d)`."""
        assert self.kernel is not None
        assert self.points is not None
        assert self.dual is not None
        points = checks.as_tensor("points", points, (None, None, self.points.shape[-1]))
        rows = self.kernel(points.flatten(0, 1), self.points.flatten(0, 1)) @ self.dual
        return rows.reshape(*points.shape[:2], -1)

    def reward_at(self, parameters: Any, points: Tensor) -> Tensor:
        """The member of smallest norm with these rewards at the points of the class."""
        return torch.einsum("sd,xad->sxa", parameters, self.features_at(points))

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
        tails = squares.flip(-1).cumsum(-1).flip(-1) - squares  # Σ_{i>k} without cancellation
        worst = self.norm_bound * tails.clamp_min(0).amax(0).sqrt()
        small = (worst <= epsilon / 2).nonzero()
        kept = int(small[0]) + 1 if len(small) else self.dimension
        largest = float(squares.sum(-1).max().sqrt())
        leading = kept * math.log1p(4 * self.norm_bound * largest / epsilon)
        return min(leading, super().log_covering(radius))
