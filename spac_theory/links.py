"""Links: how a reward difference becomes the probability that one action beats another.

`P(a ≻ b | x) = F(r(x,a) − r(x,b))` with `F` increasing and `F(−z) = 1 − F(z)`. Bradley–Terry has
`F = σ` (the logistic function), probit has `F = Φ` (the normal distribution function). The
negative log-likelihood `ℓ(z) = −log F(z)` of both is convex, which every exact solver needs.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional


class Link(Protocol):
    """A symmetric, log-concave link `F`."""

    name: str

    def probability(self, z: Tensor) -> Tensor:
        """`F(z)`, elementwise."""
        ...

    def loss(self, z: Tensor) -> Tensor:
        """`ℓ(z) = −log F(z)`, elementwise, stable for large |z|."""
        ...

    def loss_derivatives(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """`ℓ′(z) ≤ 0` and `ℓ″(z) ≥ 0`, elementwise."""
        ...

    def inverse(self, p: Tensor) -> Tensor:
        """`F⁻¹(p)` for `p` in (0, 1), elementwise."""
        ...


class BradleyTerry:
    """`F(z) = σ(z) = 1 / (1 + e^{−z})` (Bradley and Terry, 1952)."""

    name = "bradley_terry"

    def probability(self, z: Tensor) -> Tensor:
        """`σ(z)`."""
        return torch.sigmoid(z)

    def loss(self, z: Tensor) -> Tensor:
        """`−log σ(z)`."""
        return -functional.logsigmoid(z)

    def loss_derivatives(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """`−σ(−z)` and `σ(z) σ(−z)`."""
        p = torch.sigmoid(z)
        first = p - 1
        return first, -p * first

    def inverse(self, p: Tensor) -> Tensor:
        """`log(p / (1 − p))`."""
        return torch.logit(p)


class Probit:
    """`F(z) = Φ(z)`, the standard normal distribution function (Thurstone, 1927)."""

    name = "probit"

    def probability(self, z: Tensor) -> Tensor:
        """`Φ(z)`, to full relative precision in the lower tail (`torch.special.ndtr` is not)."""
        return torch.erfc(-z / math.sqrt(2)) / 2

    def loss(self, z: Tensor) -> Tensor:
        """`−log Φ(z)`."""
        return -torch.special.log_ndtr(z)

    def loss_derivatives(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """`−m(z)` and `m(z)(z + m(z))` with the inverse Mills ratio `m = φ/Φ`."""
        log_density = -0.5 * z * z - 0.5 * math.log(2 * math.pi)
        mills = torch.exp(log_density - torch.special.log_ndtr(z))
        return -mills, (mills * (z + mills)).clamp_min(0)

    def inverse(self, p: Tensor) -> Tensor:
        """`Φ⁻¹(p)`."""
        return torch.special.ndtri(p)


BRADLEY_TERRY: Link = BradleyTerry()
PROBIT: Link = Probit()
LINKS: dict[str, Link] = {link.name: link for link in (BRADLEY_TERRY, PROBIT)}
