"""Linear Alignment, Gao et al. (2024), arXiv 2401.11458: one step at inference time, closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.baselines import share
from spac_theory.learning.likelihood import NEEDS_LINEAR, ridge_likelihood
from spac_theory.learning.optimise import log_reference
from spac_theory.rewards.linear import LinearClass
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


def logit_step(log_pi: Tensor, reward: Tensor, delta: float) -> Tensor:
    """`θ₀ + √(2δ) g/‖g‖`, `g = ∇_θ E_π[r] = π (r − E_π r)`, one budget `δ` a context."""
    policy = log_pi.exp()
    g = policy * (reward - (policy * reward).sum(-1, keepdim=True))
    return log_pi + math.sqrt(2 * delta) * g / g.norm(dim=-1, keepdim=True).clamp_min(1e-300)


@ALGORITHMS.register("linear_alignment")
@dataclass(frozen=True)
class LinearAlignment:
    """One first-order step from `π_ref`, in one of three geometries.

    "logit": along the gradient of the value in the logits, with Euclidean budget `√(2 size)`.
    "natural": the natural gradient, `π ∝ π_ref exp(size · r̂)`: one step of REBEL.
    "contrastive": `π ∝ π_p^{1+size}/π_ref^{size}`, `π_p` a policy told the principle; here the winners
    of the data smoothed by one draw of `π_ref` stand for it. The first two use the ridge fit `r̂`.

    Attributes
    ----------
    form, size : the geometry and the length of the step
    """

    form: str = "contrastive"
    size: float = 3.0

    def __post_init__(self) -> None:
        checks.choice("form", self.form, ("logit", "natural", "contrastive"))
        checks.number("size", self.size, low=0)

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Two of the forms need features for the reward."""
        linear = isinstance(view.reward_class, LinearClass)
        return None if linear or self.form == "contrastive" else NEEDS_LINEAR

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
