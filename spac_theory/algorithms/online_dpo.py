"""DPO with online labels and no optimism."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.algorithms import ALGORITHMS
from spac_theory.learning.online_loop import OnlineLoop
from spac_theory.view import LearnerView


@ALGORITHMS.register("online_dpo")
@dataclass(frozen=True)
class OnlineDpo(OnlineLoop):
    """XPO without optimism: pairs `(π_t, π_ref)`, DPO on all data."""

    def second(self, policy: Tensor, reference: Tensor) -> Tensor:
        """`π_ref`."""
        return reference

    def weight(self, labels: int, total: Tensor) -> Tensor:
        """0."""
        return torch.zeros_like(total)

    def optimism(self, view: LearnerView, drawn: Tensor, total: Tensor) -> Tensor:
        """Nothing."""
        return torch.zeros_like(drawn)
