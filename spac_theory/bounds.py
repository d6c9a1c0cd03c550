"""The guarantee (T1) of the theorem, every term a number.

    J(π_c) − J(π̂) ≤ κ C(π_c)/λ + λ ε_n + net + ε_opt      with probability at least 1 − δ,

where `ε_n = (2/n) log(N/δ)` for a finite class of `N` members. An infinite class is covered by a
sup-norm net of radius `ε = 1/n`: `ε_n` gains `2ε` and the bound gains `net = 2ε min(1, √C)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.links import Link
from spac_theory.objective import tabular_margins
from spac_theory.rewards.base import RewardClass


def kappa(difference_bound: float) -> float:
    """`κ = 1/(σ(R)σ(−R)) = 2 + 2 cosh R` for Bradley–Terry."""
    return 2 + 2 * math.cosh(checks.number("difference_bound", difference_bound, low=0, high=700))


@dataclass(frozen=True)
class Complexity:
    """The statistical size of a class at `n` comparisons: `ε_n` and the radius of its net."""

    epsilon_n: Tensor
    net_radius: Tensor


def finite_complexity(members: int, n: Tensor, delta: float) -> Complexity:
    """`ε_n = (2/n) log(|𝓡|/δ)` of a finite class; `n (S,)`."""
    checks.integer("members", members, low=1)
    checks.number("delta", delta, low=0, high=1, open_low=True, open_high=True)
    epsilon = 2 / n.to(torch.float64) * math.log(members / delta)
    return Complexity(epsilon, torch.zeros_like(epsilon))


def covering_complexity(reward_class: RewardClass, n: Tensor, delta: float) -> Complexity:
    """`ε_n = 2ε + (2/n) log(N(ε)/δ)` with a sup-norm net of radius `ε = 1/n`; `n (S,)`."""
    checks.number("delta", delta, low=0, high=1, open_low=True, open_high=True)
    counts = n.to(torch.float64)
    radius = 1 / counts
    entropy = torch.tensor([reward_class.log_covering(float(r)) for r in radius])
    if reward_class.finite:
        radius = torch.zeros_like(radius)
    epsilon = 2 * radius + 2 / counts * (entropy.to(torch.float64) + math.log(1 / delta))
    return Complexity(epsilon, radius)


@dataclass(frozen=True)
class UpperBound:
    """The terms of (T1), each `(S,)`: coverage, statistics, net, optimisation."""

    coverage: Tensor
    statistics: Tensor
    net: Tensor
    optimisation: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum, infinite where the comparator is not covered."""
        return self.coverage + self.statistics + self.net + self.optimisation


def oracle_lambda(difference_bound: float, concentrability: float, size: Complexity) -> Tensor:
    """`λ* = √(κ C(π_c) / ε_n)`, which minimises the first two terms of (T1); `(S,)`.

    It needs `C(π_c)` and hence `r*`: an oracle choice.
    """
    return (kappa(difference_bound) * concentrability / size.epsilon_n).sqrt()


def upper_bound(
    difference_bound: float,
    concentrability: float,
    size: Complexity,
    lam: Tensor,
    gap: Tensor | float = 0.0,
) -> UpperBound:
    """(T1) at given `λ (S,)`, for a policy whose certified gap is at most `gap`."""
    c = checks.number("concentrability", concentrability, low=0)
    positive = lam.clamp_min(1e-300)
    coverage = kappa(difference_bound) * c / positive if c > 0 else torch.zeros_like(lam)
    net = 2 * size.net_radius * min(1.0, math.sqrt(c))
    optimisation = torch.as_tensor(gap, dtype=torch.float64).expand(lam.shape)
    return UpperBound(coverage, lam * size.epsilon_n, net, optimisation)


def best_upper_bound(difference_bound: float, concentrability: float, size: Complexity) -> Tensor:
    """(T1) at `λ*` for an exactly solved game: `2√(κ C ε_n) + net`, `(S,)`."""
    if math.isinf(concentrability):
        return torch.full_like(size.epsilon_n, math.inf)
    leading = 2 * (kappa(difference_bound) * concentrability * size.epsilon_n).sqrt()
    return leading + 2 * size.net_radius * min(1.0, math.sqrt(concentrability))


def misspecification(epsilon: float, lam: Tensor, n: Tensor, delta: float) -> Tensor:
    """What (T1) gains when the class only comes within `epsilon` of `r*`, `(S,)`.

    `ε + λ min(ε, ε²/8 + ε √(2 log(1/δ)/n))`, with the second form on a further event of probability
    `1 − δ`: `epsilon = min_r sup |Δ_r − Δ_{r*}|`. The first form is never worse than `(1 + λ) ε`; the
    second uses that the loss of the closest member exceeds that of `r*` by a Kullback–Leibler
    divergence of at most `ε²/8` on average, up to Hoeffding's deviation.
    """
    epsilon = checks.number("epsilon", epsilon, low=0)
    deviation = (2 * math.log(1 / delta) / n.to(torch.float64)).sqrt()
    return epsilon + lam * torch.clamp(epsilon**2 / 8 + epsilon * deviation, max=epsilon)


def empirical_contexts(difference_bound: float, rho: Tensor, empirical: Tensor) -> Tensor:
    """`R ‖ρ̂ − ρ‖₁`: what suboptimality gains when `L` uses the prompts of the data, `(...)`."""
    return difference_bound * (empirical - rho).abs().sum(-1)


def link_kappa(link: Link, difference_bound: float) -> float:
    """A `κ` with `(u − v)² ≤ 4 κ h²` for `|u|, |v| ≤ R`, for any symmetric link.

    With the angle `α(u) = arcsin √F(u)`, `h² = 4 sin²(|α_u − α_v|/2)` and
    `|α_u − α_v| ≥ ½ √I_min |u − v|`, where `I = F′²/(F(1 − F))` is the Fisher information. Hence
    `κ = ((x/2)/sin(x/2))² / I_min` with `x = α(R) − α(−R)`. For Bradley–Terry the sharper
    `2 + 2 cosh R` of lemma (K) is used.
    """
    if link.name == "bradley_terry":
        return kappa(difference_bound)
    z = torch.linspace(0, difference_bound, 2001, dtype=torch.float64)
    # F′ = −ℓ′F, so I = ℓ′² F/(1 − F), and 1 − F(z) = F(−z).
    first, _ = link.loss_derivatives(z)
    information = first**2 * link.probability(z) / link.probability(-z)
    angle = torch.asin(link.probability(z[-1:]).sqrt()) - torch.asin(
        link.probability(-z[-1:]).sqrt()
    )
    half = float(angle) / 2
    return (half / math.sin(half)) ** 2 / float(information.min()) if half > 0 else kappa(0.0)


def two_point_bound(
    rho: Tensor, reward: Tensor, rival: Tensor, pairs: Tensor, n: Tensor, link: Link
) -> Tensor:
    """The local lower bound: no algorithm beats it at the worse of `r*` and `r′`, `(S,)`.

    `(Δ/4) exp(−n KL_μ(P_{r*} ‖ P_{r′}))` with `Δ = E_x[max r* + max r′ − max(r* + r′)]`. Shapes:
    `reward, rival (X, A)`, `pairs (X, A, A)`, `n (S,)`.
    """
    separation = reward.max(-1).values + rival.max(-1).values - (reward + rival).max(-1).values
    p = link.probability(tabular_margins(reward))
    divergence = p * (link.loss(tabular_margins(rival)) - link.loss(tabular_margins(reward)))
    divergence = divergence + divergence.transpose(-1, -2)  # both outcomes of a comparison
    kl = (rho[:, None, None] * pairs * divergence).sum()
    return (rho * separation).sum() / 4 * torch.exp(-n.to(torch.float64) * kl)
