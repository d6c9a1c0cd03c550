"""Links: how a reward difference becomes the probability that one action beats another.

`P(a ≻ b | x) = F(r(x,a) − r(x,b))` with `F` increasing and `F(−z) = 1 − F(z)`. Bradley–Terry has
`F = σ` (the logistic function), probit has `F = Φ` (the normal distribution function). The
negative log-likelihood `ℓ(z) = −log F(z)` of both is convex, which every exact solver needs.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from spac_theory import checks


class Link(Protocol):
    """A symmetric, log-concave link `F`, with the constants that the theorems take from it."""

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

    def pair_slope(self, z: Tensor, wins: Tensor, losses: Tensor) -> Tensor:
        """The derivative in `z` of `wins · ℓ(z) + losses · ℓ(−z)`, elementwise."""
        ...

    def table_derivatives(self, z: Tensor, wins: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        """First and second derivative in `z` of `wins · ℓ(z) + (total − wins) · ℓ(−z)`, `(..., A, A)`.

        The tables are those of all pairs, so `z` is antisymmetric and `total` is `wins + winsᵀ`.
        """
        ...

    def inverse(self, p: Tensor) -> Tensor:
        """`F⁻¹(p)` for `p` in (0, 1), elementwise."""
        ...

    def kappa(self, bound: float) -> float:
        """A `κ` with `(u − v)² ≤ 4 κ h²` for `|u|, |v| ≤ R = bound`, `h` the Hellinger distance."""
        ...

    def slope(self, bound: float) -> float:
        """A Lipschitz constant of `ℓ` on `[−R, R]`."""
        ...

    def curvature(self, bound: float) -> float:
        """A bound on `ℓ″` on `[−R, R]`."""
        ...


class GeneralLink(ABC):
    """The constants of any symmetric link from its derivatives; links of one's own derive from it."""

    name: str

    @abstractmethod
    def probability(self, z: Tensor) -> Tensor:
        """`F(z)`."""

    @abstractmethod
    def loss(self, z: Tensor) -> Tensor:
        """`ℓ(z)`."""

    @abstractmethod
    def loss_derivatives(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """`ℓ′(z)` and `ℓ″(z)`."""

    @abstractmethod
    def inverse(self, p: Tensor) -> Tensor:
        """`F⁻¹(p)`."""

    def pair_slope(self, z: Tensor, wins: Tensor, losses: Tensor) -> Tensor:
        """`wins · ℓ′(z) − losses · ℓ′(−z)`."""
        return wins * self.loss_derivatives(z)[0] - losses * self.loss_derivatives(-z)[0]

    def table_derivatives(self, z: Tensor, wins: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        """Each pair is looked at from both sides: `S − Sᵀ` and `C + Cᵀ`."""
        first, second = self.loss_derivatives(z)
        slope, curvature = wins * first, wins * second
        return slope - slope.mT, curvature + curvature.mT

    def kappa(self, bound: float) -> float:
        """`((x/2)/sin(x/2))² / I_min` with `x = α(R) − α(−R)` and `R` in [0, 30].

        With the angle `α(u) = arcsin √F(u)`, `h² = 4 sin²(|α_u − α_v|/2)` and
        `|α_u − α_v| ≥ ½ √I_min |u − v|`, where `I = F′²/(F(1 − F))` is the Fisher information.
        """
        checks.number("difference_bound", bound, low=0, high=30)
        z = torch.linspace(0, bound, 2001, dtype=torch.float64)
        # F′ = −ℓ′F, so I = ℓ′² F/(1 − F), and 1 − F(z) = F(−z).
        first, _ = self.loss_derivatives(z)
        information = first**2 * self.probability(z) / self.probability(-z)
        ends = torch.asin(self.probability(torch.stack([-z[-1], z[-1]])).sqrt())
        half = float(ends[1] - ends[0]) / 2
        spread = (half / math.sin(half)) ** 2 if half > 0 else 1.0
        return spread / float(information.min())

    def slope(self, bound: float) -> float:
        """`|ℓ′(−R)|`."""
        end = torch.tensor([-bound], dtype=torch.float64)
        return float(self.loss_derivatives(end)[0].abs())

    def curvature(self, bound: float) -> float:
        """The largest `ℓ″` on a grid of `[−R, R]`."""
        z = torch.linspace(-bound, bound, 2001, dtype=torch.float64)
        return float(self.loss_derivatives(z)[1].max())


class BradleyTerry(GeneralLink):
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

    def pair_slope(self, z: Tensor, wins: Tensor, losses: Tensor) -> Tensor:
        """`(wins + losses) σ(z) − wins`."""
        return torch.addcmul(-wins, wins + losses, torch.sigmoid(z))

    def table_derivatives(self, z: Tensor, wins: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        """`total σ(z) − wins` and `total σ(z) σ(−z)`, with `σ(−z)` read off the other side of a pair."""
        p = torch.sigmoid(z)
        slope = total * p
        curvature = slope * p.mT
        return slope.sub_(wins), curvature

    def inverse(self, p: Tensor) -> Tensor:
        """`log(p / (1 − p))`."""
        return torch.logit(p)

    def kappa(self, bound: float) -> float:
        """`1/(σ(R)σ(−R)) = 2 + 2 cosh R`, sharper than the general constant: lemma (K)."""
        return 2 + 2 * math.cosh(checks.number("difference_bound", bound, low=0, high=700))

    def slope(self, bound: float) -> float:
        """At most 1, whatever `R` is."""
        return 1.0

    def curvature(self, bound: float) -> float:
        """At most 1/4, whatever `R` is."""
        return 0.25


class Probit(GeneralLink):
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
