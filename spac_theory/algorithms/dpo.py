"""Direct preference optimisation, Rafailov et al. (2023), with its tie-break stated.

The DPO loss sees only logit differences of compared pairs: it has no unique minimiser, and what
decides is how it is minimised. Two answers are offered: the closed form of a ridge fit, and
gradient steps on the policy's logits from `π_ref`.
"""

from __future__ import annotations

from dataclasses import dataclass

from spac_theory import checks
from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.likelihood import (
    NEEDS_LINEAR,
    ridge_likelihood,
    tilted_policy,
)
from spac_theory.rewards.linear import LinearClass
from spac_theory.view import Fit, LearnerView, Oracle


@ALGORITHMS.register("dpo")
@dataclass(frozen=True)
class DpoClosedForm:
    """`π ∝ π_ref exp(ŝ/β)` with the implicit reward `ŝ` that minimises the loss plus a ridge.

    The ridge (`ridge/n`) is the tie-break: what was never compared keeps `ŝ = 0`, hence `π_ref`.
    """

    beta: float = 0.1
    ridge: float = 1.0

    def __post_init__(self) -> None:
        checks.number("beta", self.beta, low=0, open_low=True)
        checks.number("ridge", self.ridge, low=0, open_low=True)

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Needs features."""
        return None if isinstance(view.reward_class, LinearClass) else NEEDS_LINEAR

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Fit the implicit reward and read the policy off it."""
        fit = ridge_likelihood(view, data, self.ridge)
        policy = tilted_policy(view, fit.reward, fit.theta, self.beta)
        return Fit(policy, "gradient norm", fit.gap, reward=fit.reward)
