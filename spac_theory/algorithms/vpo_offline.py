"""VPO, offline: value incentivised preference optimisation, Cen et al. (2024), arXiv 2405.19320."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.dpo_loss import supervised_dpo, supervised_fit
from spac_theory.learning.likelihood import NEEDS_LINEAR
from spac_theory.rewards.linear import LinearClass
from spac_theory.view import Fit, LearnerView, Oracle


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
        return supervised_fit(found, self.beta, 1 / weight)


def calibration_law(name: str, view: LearnerView, data: WinnerCounts) -> Tensor:
    """The joint law of `x` and `a ~ π_cal`, `(S, X, A)`: the data's winners, or `ρ π_ref`."""
    if name == "chosen":
        return data.fraction.sum(-1)
    return (view.rho[:, None] * view.reference).expand(len(data.n), -1, -1)
