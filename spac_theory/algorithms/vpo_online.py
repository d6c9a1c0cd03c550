"""VPO, online: the optimistic sign, Cen et al. (2024), arXiv 2405.19320."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from spac_theory import checks
from spac_theory.algorithms import ALGORITHMS
from spac_theory.learning.online_loop import OnlineLoop
from spac_theory.view import LearnerView


@ALGORITHMS.register("vpo_online")
@dataclass(frozen=True)
class VpoOnline(OnlineLoop):
    """Pairs `(π_t, π_ref)`; `min L_DPO + αβ E_{x, y~π_ref}[log π(y|x)]`, the optimistic sign.

    Beside a sum of losses the weight of optimism is a constant `α_Σ`, and `α = α_Σ/n` beside the mean.
    With `T` labels the regret is of order `T/α_Σ + α_Σ`, the price of a wrong optimum and that of
    exploring, so `α_Σ = √T`: the default.

    Attributes
    ----------
    alpha : None (`√T/n`, by the labels granted and all comparisons so far) or a number `≥ 0`
    pairs : "reference" (`π_t` against the calibration policy `π_ref`, whose gap the bonus speaks of)
        or "policy" (two draws of `π_t`, which teach nothing once it is sure of an action)
    """

    alpha: float | None = None
    pairs: str = "reference"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("pairs", self.pairs, ("reference", "policy"))

    def second(self, policy: Tensor, reference: Tensor) -> Tensor:
        """`π_ref` or `π_t`."""
        return reference if self.pairs == "reference" else policy

    def optimism(self, view: LearnerView, drawn: Tensor, total: Tensor) -> Tensor:
        """`β ρ π_ref`."""
        return (self.beta * view.rho[:, None] * view.reference).expand_as(drawn)
