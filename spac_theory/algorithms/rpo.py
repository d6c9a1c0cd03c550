"""RPO: regularised preference optimisation, Liu et al. (2024), arXiv 2405.16436."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from spac_theory import checks
from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.dpo_loss import supervised_dpo, supervised_fit
from spac_theory.learning.likelihood import NEEDS_LINEAR
from spac_theory.rewards.linear import LinearClass
from spac_theory.view import Fit, LearnerView, Oracle


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
        return supervised_fit(
            supervised_dpo(view, data, self.beta, 1 / lam, chosen, self.ridge), self.beta, lam
        )
