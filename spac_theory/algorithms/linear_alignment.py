"""Linear Alignment, Gao et al. (2024), arXiv 2401.11458: one step at inference time, closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.baselines import share
from spac_theory.learning.likelihood import ridge_likelihood
from spac_theory.learning.needs import FEATURES, KNOWN_CONTEXTS, Learner
from spac_theory.learning.optimise import log_reference
from spac_theory.options import choice, number
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


def logit_step(log_pi: Tensor, reward: Tensor, delta: float) -> Tensor:
    """`θ₀ + √(2δ) g/‖g‖`, `g = ∇_θ E_π[r] = π (r − E_π r)`, one budget `δ` a context."""
    policy = log_pi.exp()
    g = policy * (reward - (policy * reward).sum(-1, keepdim=True))
    return log_pi + math.sqrt(2 * delta) * g / g.norm(dim=-1, keepdim=True).clamp_min(1e-300)


@ALGORITHMS.register("linear_alignment")
@dataclass(frozen=True)
class LinearAlignment(Learner):
    """One first-order step from `π_ref`, in one of three geometries.

    "logit": along the gradient of the value in the logits, with Euclidean budget `√(2 size)`.
    "natural": the natural gradient, `π ∝ π_ref exp(size · r̂)`: one step of REBEL.
    "contrastive": `π ∝ π_p^{1+size}/π_ref^{size}`, `π_p` a policy told the principle; here the winners
    of the data smoothed by one draw of `π_ref` stand for it. The first two use the ridge fit `r̂`.
    """

    needs = frozenset({KNOWN_CONTEXTS})

    form: str = choice(
        "contrastive", "contrastive, logit or natural", ("logit", "natural", "contrastive")
    )
    size: float = number(3.0, "length of the step", low=0)

    def needed(self) -> frozenset[str]:
        """Two of the forms need features for the reward."""
        return self.needs if self.form == "contrastive" else self.needs | {FEATURES}

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Take the step."""
        base = log_reference(view).log_softmax(-1)
        if self.form == "contrastive":
            wins = data.wins.sum(-1).to(torch.float64) + view.reference
            told = share(wins, view.reference).clamp_min(1e-30).log()
            logits = told + self.size * (told - base)
        else:
            reward = ridge_likelihood(view, data, 1.0).reward
            start = base.expand_as(reward)
            natural = self.form == "natural"
            logits = start + self.size * reward if natural else logit_step(start, reward, self.size)
        return Fit(TabularPolicy(torch.softmax(logits, -1)), "closed form")
