"""RPO: regularised preference optimisation, Liu et al. (2024), arXiv 2405.16436."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.dpo_loss import supervised_dpo, supervised_fit
from spac_theory.learning.needs import FEATURES, KNOWN_CONTEXTS, Coefficient, Learner
from spac_theory.options import choice, positive
from spac_theory.view import Fit, LearnerView, Oracle


@ALGORITHMS.register("rpo")
@dataclass(frozen=True)
class Rpo(Learner):
    """`min L_DPO + ηβ E_{a~chosen}[−log π(a|x)]`: the saddle of SPAC with a KL term, swapped.

    Dividing its game by `η` gives SPAC's, so `λ = 1/η` is chosen as for `spac`.
    """

    needs = frozenset({FEATURES, KNOWN_CONTEXTS})
    coefficient = Coefficient.CHOSEN

    beta: float = positive(0.1, "strength β of the implicit KL regulariser")
    lam: str = choice("sqrt_n", "rule for λ: sqrt_n or fixed", ("sqrt_n", "fixed"))
    scale: float = positive(1.0, "multiplies the rule's λ (for fixed it is λ)")
    ridge: float = positive(1.0, "tie-break ridge/(2n) ‖β log π/π_ref‖²")

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Minimise the convex loss."""
        n = data.n.to(torch.float64)
        lam = self.scale * (n.sqrt() if self.lam == "sqrt_n" else torch.ones_like(n))
        chosen = data.fraction.sum(-1)
        return supervised_fit(
            supervised_dpo(view, data, self.beta, 1 / lam, chosen, self.ridge), self.beta, lam
        )
