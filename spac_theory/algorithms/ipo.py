"""Identity preference optimisation, Azar et al. (2023), arXiv 2310.12036, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.contextual import tilt
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.needs import FEATURES, KNOWN_CONTEXTS, Coefficient, Learner, featured
from spac_theory.options import positive
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


@ALGORITHMS.register("ipo")
@dataclass(frozen=True)
class Ipo(Learner):
    """`min E_D (h(a⁺) − h(a⁻) − 1/(2τ))²` with `h = log π/π_ref`: a linear system.

    With `s = τ h` the loss is `(s(a⁺) − s(a⁻) − ½)²/τ²`, so `s` does not depend on `τ` and
    `π ∝ π_ref exp(s/τ)`. The ridge `ridge/(2n) ‖s‖²` is the tie-break, as for `dpo`.
    """

    needs = frozenset({FEATURES, KNOWN_CONTEXTS})
    coefficient = Coefficient.RATIO

    tau: float = positive(0.1, "strength τ of the implicit regulariser")
    ridge: float = positive(1.0, "tie-break ridge/(2n) ‖β log π/π_ref‖²")

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Solve the normal equations `(2 MᵀΛM + ridge/n) θ = Mᵀ(wins − losses)`."""
        design, fraction = featured(view).design, data.fraction
        pairs = fraction + fraction.transpose(-1, -2)
        laplacian = torch.diag_embed(pairs.sum(-1)) - pairs
        right = design.adjoint(fraction.sum(-1) - fraction.sum(-2))
        gamma = self.ridge / data.n.to(torch.float64)
        theta = design.factor(2 * laplacian, gamma).solve(right)
        implicit = design.forward(theta)
        policy = TabularPolicy(tilt(view.reference, implicit, self.tau))
        return Fit(policy, "closed form", reward=implicit)
