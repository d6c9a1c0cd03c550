"""XPO: DPO with online labels and optimism, Xie et al. (2024), arXiv 2405.21046."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from spac_theory import checks
from spac_theory.algorithms import ALGORITHMS
from spac_theory.learning.online_loop import OnlineLoop
from spac_theory.view import LearnerView


@ALGORITHMS.register("xpo")
@dataclass(frozen=True)
class Xpo(OnlineLoop):
    """Pairs `(π_t, π_ref)`; `min L_DPO + α Σ log π(ỹ)/n` with `ỹ` the responses of `π_ref`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.number("alpha", self.alpha, low=0)

    def second(self, policy: Tensor, reference: Tensor) -> Tensor:
        """`π_ref`."""
        return reference

    def optimism(self, view: LearnerView, drawn: Tensor, total: Tensor) -> Tensor:
        """The reference responses drawn so far, over all comparisons."""
        return drawn / total[:, None, None]
