"""χPO, Huang et al. (2024), arXiv 2407.13399: DPO with `φ(z) = z + log z` for `log z`.

Two ways to the same regulariser `D_χ² + KL`: the direct loss on policies, not convex, and χ²-RLHF,
which fits a reward first and then has a closed form by the Lambert function.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.contextual import tilt
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.chi_squared import chi_squared_tilt
from spac_theory.learning.likelihood import ridge_likelihood
from spac_theory.learning.needs import FEATURES, KNOWN_CONTEXTS, Coefficient, Learner
from spac_theory.learning.optimise import SMALLEST_REFERENCE, fit_policy, log_reference
from spac_theory.objective import preference_loss, tabular_margins
from spac_theory.options import positive
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


def smooth_clip(x: Tensor, limit: float) -> Tensor:
    """`x` clipped to `±limit`, its two corners rounded over a width of `limit/40`.

    A hard clip leaves minimisers at the corners, where no gradient vanishes.
    """
    if limit == 0:
        return 0 * x
    width = limit / 40
    above = functional.softplus((x - limit) / width)
    below = functional.softplus((-limit - x) / width)
    return x - width * above + width * below


def chi_po_margins(log_ratio: Tensor, beta: float) -> Tensor:
    """`β[φ(z(a)) − φ(z(b))]` before the clip, `log z (..., A) -> (..., A, A)`."""
    return beta * tabular_margins(log_ratio.exp() + log_ratio)


@ALGORITHMS.register("chi_po")
@dataclass(frozen=True)
class ChiPo(Learner):
    """`min −E_D log σ( clip_{±2R}( β[φ(z(a⁺)) − φ(z(a⁻))] ) )`, `z = π/π_ref`; not convex.

    Three starts: `π_ref`, DPO's closed form, and the χ²-tilt of the same ridge fit. The tie-break
    is DPO's ridge, on `β log z`.
    """

    needs = frozenset({FEATURES, KNOWN_CONTEXTS})
    coefficient = Coefficient.L1

    beta: float = positive(0.1, "strength β of the implicit KL regulariser")
    ridge: float = positive(1.0, "tie-break ridge/(2n) ‖β log π/π_ref‖²")

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Minimise from three starts."""
        clip, base = 2 * view.reward_class.difference_bound, log_reference(view)

        def loss(logits: Tensor, log_policy: Tensor, wins: Tensor, base: Tensor) -> Tensor:
            log_ratio = log_policy - base
            margin = chi_po_margins(log_ratio, self.beta)
            return preference_loss(smooth_clip(margin, clip), wins, (-2, -1), view.link)

        reward = ridge_likelihood(view, data, self.ridge).reward
        starts = [torch.zeros_like(reward)]
        for policy in (
            tilt(view.reference, reward, self.beta),
            chi_squared_tilt(view.reference, reward, self.beta),
        ):
            starts.append(policy.clamp_min(SMALLEST_REFERENCE).log() - base)
        gamma = self.ridge * self.beta**2 / data.n.to(torch.float64)
        found = fit_policy(view, loss, [data.fraction, base.unsqueeze(0)], starts, gamma)
        return Fit(
            TabularPolicy(found.policy),
            "stationarity",
            found.gradient_norm,
            converged=found.converged,
            extra={"spread": found.spread},
        )
