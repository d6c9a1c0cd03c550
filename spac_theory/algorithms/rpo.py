"""Two pessimistic objectives that turn into DPO plus a supervised term, and so share a file.

RPO: regularised preference optimisation, Liu et al. (2024), arXiv 2405.16436. VPO, offline: value
incentivised preference optimisation, Cen et al. (2024), arXiv 2405.19320.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.algorithms import ALGORITHMS
from spac_theory.algorithms.maximum_likelihood import NEEDS_LINEAR
from spac_theory.objective import preference_loss, tabular_margins
from spac_theory.optimise import PolicyFit, fit_policy
from spac_theory.preferences import WinnerCounts
from spac_theory.rewards.linear import LinearClass
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


def dpo_loss(view: LearnerView, log_ratio: Tensor, wins: Tensor, beta: float) -> Tensor:
    """`−E_D log σ(β(h(a⁺) − h(a⁻)))`, `h = log π/π_ref (L, X, A)`: one value a context."""
    return preference_loss(beta * tabular_margins(log_ratio), wins, (-2, -1), view.link)


def supervised_dpo(
    view: LearnerView,
    data: WinnerCounts,
    beta: float,
    weight: Tensor,
    target: Tensor,
    ridge: float,
) -> PolicyFit:
    """`min L_DPO − weight · β Σ target · log π` plus a ridge on `βℓ`; convex in the logits.

    `weight (S,)`; `target (S, X, A)` sums to 1 over contexts and actions.
    """
    cost = weight[:, None, None] * beta * target

    def loss(log_ratio: Tensor, log_policy: Tensor, wins: Tensor, cost: Tensor) -> Tensor:
        return dpo_loss(view, log_ratio, wins, beta) - (cost * log_policy).sum(-1)

    start = torch.zeros(data.wins.shape[:3], dtype=torch.float64)
    gamma = ridge * beta**2 / data.n.to(torch.float64)
    return fit_policy(view, loss, [data.fraction, cost], [start], gamma)


def _result(found: PolicyFit, beta: float, lam: Tensor) -> Fit:
    return Fit(
        TabularPolicy(found.policy),
        "gradient norm",
        found.gradient_norm,
        lam,
        beta * found.logits,
        found.converged,
    )


@ALGORITHMS.register("rpo")
@dataclass(frozen=True)
class Rpo:
    """`min L_DPO + ηβ E_{a~chosen}[−log π(a|x)]`: the saddle of SPAC with a KL term, swapped.

    Dividing its game by `η` gives SPAC's, so `λ = 1/η` is chosen as for `spac`.

    Attributes
    ----------
    beta : `β > 0`
    lam : "sqrt_n" (`λ = scale √n`) or "fixed" (`λ = scale`); `η = 1/λ`
    scale : `> 0`
    ridge : tie-break `ridge/(2n) ‖β log π/π_ref‖²`, as for `dpo`
    """

    beta: float = 0.1
    lam: str = "sqrt_n"
    scale: float = 1.0
    ridge: float = 1.0

    def __post_init__(self) -> None:
        checks.number("beta", self.beta, low=0, open_low=True)
        checks.choice("lam", self.lam, ("sqrt_n", "fixed"))
        checks.number("scale", self.scale, low=0, open_low=True)
        checks.number("ridge", self.ridge, low=0, open_low=True)

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Needs features."""
        return None if isinstance(view.reward_class, LinearClass) else NEEDS_LINEAR

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Minimise the convex loss."""
        n = data.n.to(torch.float64)
        lam = self.scale * (n.sqrt() if self.lam == "sqrt_n" else torch.ones_like(n))
        chosen = data.fraction.sum(-1)
        return _result(
            supervised_dpo(view, data, self.beta, 1 / lam, chosen, self.ridge), self.beta, lam
        )


@ALGORITHMS.register("vpo_offline")
@dataclass(frozen=True)
class VpoOffline:
    """`min L_DPO − αβ E_{x, a~π_cal}[log π(a|x)]`, the pessimistic sign of VPO.

    Attributes
    ----------
    alpha, beta : `α ≥ 0`, `β > 0`
    calibration : `π_cal`, "chosen" (then it is RPO with `η = α`) or "reference"
    ridge : tie-break, as for `dpo`
    """

    alpha: float = 0.03
    beta: float = 0.1
    calibration: str = "reference"
    ridge: float = 1.0

    def __post_init__(self) -> None:
        checks.number("alpha", self.alpha, low=0)
        checks.number("beta", self.beta, low=0, open_low=True)
        checks.choice("calibration", self.calibration, ("chosen", "reference"))
        checks.number("ridge", self.ridge, low=0, open_low=True)

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Needs features."""
        return None if isinstance(view.reward_class, LinearClass) else NEEDS_LINEAR

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Minimise the convex loss."""
        target = calibration_law(self.calibration, view, data)
        weight = torch.full((len(data.n),), self.alpha, dtype=torch.float64)
        found = supervised_dpo(view, data, self.beta, weight, target, self.ridge)
        return _result(found, self.beta, 1 / weight)


def calibration_law(name: str, view: LearnerView, data: WinnerCounts) -> Tensor:
    """The joint law of `x` and `a ~ π_cal`, `(S, X, A)`: the data's winners, or `ρ π_ref`."""
    if name == "chosen":
        return data.fraction.sum(-1)
    return (view.rho[:, None] * view.reference).expand(len(data.n), -1, -1)
