"""VPO, offline: value incentivised preference optimisation, Cen et al. (2024), arXiv 2405.19320."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.dpo_loss import supervised_dpo, supervised_fit
from spac_theory.learning.needs import FEATURES, KNOWN_CONTEXTS, Coefficient, Learner
from spac_theory.options import choice, number, positive
from spac_theory.view import Fit, LearnerView, Oracle


@ALGORITHMS.register("vpo_offline")
@dataclass(frozen=True)
class VpoOffline(Learner):
    """`min L_DPO − αβ E_{x, a~π_cal}[log π(a|x)]`, the pessimistic sign of VPO."""

    needs = frozenset({FEATURES, KNOWN_CONTEXTS})
    coefficient = Coefficient.SINGLE

    alpha: float = number(0.03, "pessimism α", low=0)
    beta: float = positive(0.1, "strength β of the implicit KL regulariser")
    calibration: str = choice("reference", "π_cal: chosen or reference", ("chosen", "reference"))
    ridge: float = positive(1.0, "tie-break ridge/(2n) ‖β log π/π_ref‖²")

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
