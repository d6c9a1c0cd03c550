"""XPO: DPO with online labels and optimism, Xie et al. (2024), arXiv 2405.21046."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.algorithms import ALGORITHMS
from spac_theory.learning.needs import Coefficient
from spac_theory.learning.online_loop import OnlineLoop
from spac_theory.options import number
from spac_theory.view import LearnerView


@ALGORITHMS.register("xpo")
@dataclass(frozen=True)
class Xpo(OnlineLoop):
    """Pairs `(π_t, π_ref)`; `min L_DPO + α Σ log π(ỹ)/n` with `ỹ` the responses of `π_ref`."""

    coefficient = Coefficient.COVERABILITY

    alpha: float = number(0.01, "weight α of optimism", low=0)

    def second(self, policy: Tensor, reference: Tensor) -> Tensor:
        """`π_ref`."""
        return reference

    def weight(self, labels: int, total: Tensor) -> Tensor:
        """`α`."""
        return torch.full_like(total, self.alpha)

    def optimism(self, view: LearnerView, drawn: Tensor, total: Tensor) -> Tensor:
        """The reference responses drawn so far, over all comparisons."""
        return drawn / total[:, None, None]
