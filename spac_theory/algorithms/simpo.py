"""A reference-free margin loss after SimPO, Meng et al. (2024), arXiv 2405.14734.

SimPO divides log-probabilities by the length of a response. Actions of a bandit have no length, so
what is left of it is the margin `γ` and the missing reference.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.needs import FEATURES, KNOWN_CONTEXTS, Learner
from spac_theory.learning.optimise import fit_policy
from spac_theory.objective import preference_loss, tabular_margins
from spac_theory.options import number, positive
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


@ALGORITHMS.register("simpo")
@dataclass(frozen=True)
class SimPo(Learner):
    """`min −E_D log σ( β log π(a⁺) − β log π(a⁻) − γ )`; convex in the logits.

    The ridge `ridge/(2n) ‖β log π‖²` pulls to the uniform policy: no reference enters anywhere.
    """

    needs = frozenset({FEATURES, KNOWN_CONTEXTS})

    beta: float = positive(0.1, "strength β of the implicit KL regulariser")
    ratio: float = number(0.8, "margin γ in units of β; the released range is 0.1 to 0.8", low=0)
    ridge: float = positive(1.0, "tie-break ridge/(2n) ‖β log π/π_ref‖²")

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Minimise from the uniform policy."""
        contexts, actions = view.reference.shape
        free = replace(view, reference=torch.full_like(view.reference, 1 / actions))
        fraction = data.fraction

        def loss(logits: Tensor, log_policy: Tensor, wins: Tensor) -> Tensor:
            margin = self.beta * tabular_margins(logits) - self.ratio * self.beta
            return preference_loss(margin, wins, (-2, -1), view.link)

        start = torch.zeros(len(fraction), contexts, actions, dtype=torch.float64)
        gamma = self.ridge * self.beta**2 / data.n.to(torch.float64)
        found = fit_policy(free, loss, [fraction], [start], gamma)
        return Fit(
            TabularPolicy(found.policy),
            "gradient norm",
            found.gradient_norm,
            reward=self.beta * found.logits,
            converged=found.converged,
        )
