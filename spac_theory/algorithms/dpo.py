"""Direct preference optimisation, Rafailov et al. (2023), with its tie-break stated.

The DPO loss sees only logit differences of compared pairs: it has no unique minimiser, and what
decides is how it is minimised. Two answers are offered: the closed form of a ridge fit, and
gradient steps on the policy's logits from `π_ref`.
"""

from __future__ import annotations

from dataclasses import dataclass

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.likelihood import ridge_likelihood, tilted_policy
from spac_theory.learning.needs import FEATURES, Coefficient, Learner
from spac_theory.options import positive
from spac_theory.view import Fit, LearnerView, Oracle


@ALGORITHMS.register("dpo")
@dataclass(frozen=True)
class DpoClosedForm(Learner):
    """`π ∝ π_ref exp(ŝ/β)` with the implicit reward `ŝ` that minimises the loss plus a ridge.

    The ridge (`ridge/n`) is the tie-break: what was never compared keeps `ŝ = 0`, hence `π_ref`.
    """

    needs = frozenset({FEATURES})
    coefficient = Coefficient.RATIO

    beta: float = positive(0.1, "strength β of the implicit KL regulariser")
    ridge: float = positive(1.0, "ridge of the fit, in units of 1/n: the tie-break")

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Fit the implicit reward and read the policy off it."""
        fit = ridge_likelihood(view, data, self.ridge)
        policy = tilted_policy(view, fit.reward, fit.theta, self.beta)
        return Fit(policy, "gradient norm", fit.gap, reward=fit.reward)
