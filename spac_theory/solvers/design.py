"""Linear maps from parameters to rewards, and the one factorisation the solvers need of them.

A design is `r = offset + M θ` for `S` problems at once. The interior-point solver asks it for
`M θ`, `Mᵀ g` and a Cholesky factor of `Mᵀ H M + c I`, where `H` is block diagonal over contexts.
`DenseDesign` shares one parameter vector across contexts; `BlockDesign` gives each context its own,
so that a tabular problem costs `X` small factorisations instead of one large one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

CACHE = 2**17  # numbers: a megabyte, what a core keeps close


def slices(lanes: int, size: int, most: int = CACHE) -> list[slice]:
    """Parts of the lanes of which each holds at most `most` numbers, `size` a lane, or one lane."""
    step = max(1, most // max(1, size))
    return [slice(i, i + step) for i in range(0, lanes, step)]


class Factor(Protocol):
    """A factored symmetric positive definite matrix of each problem."""

    def solve(self, rhs: Tensor) -> Tensor:
        """Solve for right-hand sides `(S, p)`."""
        ...


class Design(Protocol):
    """The linear part `M` of a reward class, `p` parameters for `X × A` rewards."""

    @property
    def parameters(self) -> int:
        """`p`."""
        ...

    def forward(self, theta: Tensor) -> Tensor:
        """`M θ`: `(S, p) -> (S, X, A)`."""
        ...

    def adjoint(self, gradient: Tensor) -> Tensor:
        """`Mᵀ g`: `(S, X, A) -> (S, p)`."""
        ...

    def factor(
        self, hessian: Tensor, shift: Tensor | None, diagonal: Tensor | None = None
    ) -> Factor:
        """Factor `Mᵀ (H + diag) M + shift I`.

        `hessian (S, X, A, A)` has rows that sum to 0, `shift` is `(S,)` or None, `diagonal (S, X, A)`.
        """
        ...

    def select(self, lanes: Tensor | slice) -> Design:
        """The design of the problems `lanes` alone."""
        ...


@dataclass(frozen=True)
class CholeskyFactor:
    """Batched Cholesky factors `(..., k, k)` of problems whose parameters are `shape = (..., k)`."""

    lower: Tensor

    def solve(self, rhs: Tensor) -> Tensor:
        """Solve for right-hand sides `(S, p)`, reshaped to the blocks and back."""
        blocks = rhs.reshape(*self.lower.shape[:-1], 1)
        return torch.cholesky_solve(blocks, self.lower).reshape(rhs.shape)


def cholesky(matrix: Tensor) -> CholeskyFactor:
    """Cholesky of symmetric matrices; one that fails for rounding gets a growing ridge.

    One that stays indefinite gets a factor of NaN: its lane ends with the best it had, and no lane
    sees another.
    """
    lower, info = torch.linalg.cholesky_ex(matrix)
    scale = torch.diagonal(matrix, dim1=-2, dim2=-1).abs().amax(-1).clamp_min(1e-300)
    ridge = torch.zeros_like(scale)
    while bool((info > 0).any()):
        ridge = torch.where(info > 0, (10 * ridge).clamp_min(1e-16 * scale), ridge)
        lost = ~(ridge <= 1e-2 * scale)
        shifted = torch.where(lost[..., None, None], torch.eye(matrix.shape[-1]).to(matrix), matrix)
        shifted.diagonal(dim1=-2, dim2=-1).add_(torch.where(lost, 0.0, ridge).unsqueeze(-1))
        lower, info = torch.linalg.cholesky_ex(shifted)
        lower = torch.where(lost[..., None, None], torch.nan, lower)
    return CholeskyFactor(lower)


@dataclass(frozen=True)
class DenseDesign:
    """`r(x,a) = φ(x,a)·θ` with one `θ` for all contexts; `phi` is `(1 or S, X, A, d)`."""

    phi: Tensor

    @property
    def parameters(self) -> int:
        """`d`."""
        return self.phi.shape[-1]

    @cached_property
    def _own(self) -> Tensor:
        """Features without what all actions of a context share, which a graph Laplacian cancels."""
        return self.phi - self.phi[:, :, :1]

    def _rows(self, lanes: int) -> Tensor:
        """Features as one matrix a problem, `(S, X A, d)`; a batched product keeps lanes apart."""
        return self.phi.flatten(1, 2).expand(lanes, -1, -1)

    def forward(self, theta: Tensor) -> Tensor:
        """`M θ`."""
        rows = torch.bmm(theta.unsqueeze(1), self._rows(len(theta)).mT)
        return rows.reshape(len(theta), *self.phi.shape[1:3])

    def adjoint(self, gradient: Tensor) -> Tensor:
        """`Mᵀ g`."""
        return torch.bmm(gradient.flatten(1).unsqueeze(1), self._rows(len(gradient))).squeeze(1)

    def factor(
        self, hessian: Tensor, shift: Tensor | None, diagonal: Tensor | None = None
    ) -> CholeskyFactor:
        """Cost `O(X A² d + X A d²)` a problem.

        What all actions share of their features cancels in `H`: it is taken out before rounding could
        take its place. As many problems at once as fit the cache with their features.
        """
        parts = slices(len(hessian), self.phi[0].numel())
        matrix = torch.cat([self._curvature(hessian, diagonal, part) for part in parts])
        matrix = (matrix + matrix.mT) / 2
        if shift is not None:
            matrix.diagonal(dim1=-2, dim2=-1).add_(shift.unsqueeze(-1))
        return cholesky(matrix)

    def _curvature(self, hessian: Tensor, diagonal: Tensor | None, part: slice) -> Tensor:
        """`Mᵀ (H + diag) M` of some of the lanes, up to rounding in its symmetry."""
        blocks = hessian[part]
        lanes, contexts, actions, _ = blocks.shape
        shared = len(self.phi) == 1
        own = (self._own if shared else self._own[part]).expand(lanes, -1, -1, -1)
        own = own.reshape(lanes * contexts, actions, -1)
        half = torch.bmm(blocks.reshape(lanes * contexts, actions, actions), own)
        flat = (lanes, contexts * actions, -1)
        matrix = torch.bmm(own.view(flat).mT, half.view(flat))
        if diagonal is None:
            return matrix
        rows = self.select(part)._rows(lanes)
        return matrix.baddbmm_(rows.mT, diagonal[part].flatten(1).unsqueeze(-1) * rows)

    def select(self, lanes: Tensor | slice) -> DenseDesign:
        """The problems `lanes` alone."""
        return self if len(self.phi) == 1 else replace(self, phi=self.phi[lanes])


@dataclass(frozen=True)
class BlockDesign:
    """`r(x,·) = M_x θ_x` with parameters of its own at each context.

    `blocks` is `(1 or S, X, A, A)`, or None for the identity (a table of rewards).
    """

    contexts: int
    actions: int
    blocks: Tensor | None = None

    @property
    def parameters(self) -> int:
        """`X A`."""
        return self.contexts * self.actions

    def forward(self, theta: Tensor) -> Tensor:
        """`M θ`."""
        table = theta.reshape(-1, self.contexts, self.actions)
        return table if self.blocks is None else (self.blocks @ table.unsqueeze(-1)).squeeze(-1)

    def adjoint(self, gradient: Tensor) -> Tensor:
        """`Mᵀ g`."""
        if self.blocks is not None:
            gradient = (self.blocks.transpose(-1, -2) @ gradient.unsqueeze(-1)).squeeze(-1)
        return gradient.flatten(1)

    def factor(
        self, hessian: Tensor, shift: Tensor | None, diagonal: Tensor | None = None
    ) -> CholeskyFactor:
        """Cost `O(X A³)` a problem."""
        matrix = hessian.clone()
        if diagonal is not None:
            matrix.diagonal(dim1=-2, dim2=-1).add_(diagonal)
        if self.blocks is not None:
            matrix = self.blocks.mT @ matrix @ self.blocks
        if shift is not None:
            matrix.diagonal(dim1=-2, dim2=-1).add_(shift[:, None, None])
        return cholesky(matrix)

    def select(self, lanes: Tensor | slice) -> BlockDesign:
        """The problems `lanes` alone."""
        if self.blocks is None or len(self.blocks) == 1:
            return self
        return replace(self, blocks=self.blocks[lanes])
