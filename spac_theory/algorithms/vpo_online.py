"""VPO, online: the optimistic sign, Cen et al. (2024), arXiv 2405.19320."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.algorithms import ALGORITHMS
from spac_theory.learning.needs import Coefficient
from spac_theory.learning.online_loop import OnlineLoop
from spac_theory.options import choice, number
from spac_theory.view import LearnerView


@ALGORITHMS.register("vpo_online")
@dataclass(frozen=True)
class VpoOnline(OnlineLoop):
    """Pairs `(π_t, π_ref)`; `min L_DPO + αβ E_{x, y~π_ref}[log π(y|x)]`, the optimistic sign.

    Beside a sum of losses the weight of optimism is a constant `α_Σ`, and `α = α_Σ/n` beside the mean.
    With `T` labels the regret is of order `T/α_Σ + α_Σ`, the price of a wrong optimum and that of
    exploring, so `α_Σ = √T`: the default.
    """

    coefficient = Coefficient.NONE

    alpha: float | None = number(
        None, "optimism α; null is the theory's √T/n by the labels granted", optional=True, low=0
    )
    pairs: str = choice(
        "reference",
        "second response of a pair: reference (π_ref) or policy (π_t)",
        ("reference", "policy"),
    )

    def second(self, policy: Tensor, reference: Tensor) -> Tensor:
        """`π_ref` or `π_t`."""
        return reference if self.pairs == "reference" else policy

    def weight(self, labels: int, total: Tensor) -> Tensor:
        """`α`, or `√T/n` with `T` labels and `n` comparisons."""
        if self.alpha is None:
            return math.sqrt(labels) / total
        return torch.full_like(total, self.alpha)

    def optimism(self, view: LearnerView, drawn: Tensor, total: Tensor) -> Tensor:
        """`β ρ π_ref`."""
        return (self.beta * view.rho[:, None] * view.reference).expand_as(drawn)
