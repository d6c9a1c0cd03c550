"""SPAC without `λ`: the critic is any reward that fits almost as well as the best one, theory (T2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.contextual import greedy
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.baselines import BASELINES, with_baseline
from spac_theory.learning.lambda_rules import loss_radius, make_game
from spac_theory.learning.needs import Coefficient, Learner
from spac_theory.options import choice
from spac_theory.rewards.finite import FiniteClass
from spac_theory.rewards.linear import LinearClass
from spac_theory.saddle.constrained import constrained_saddle
from spac_theory.view import Contexts, Fit, GeneralPolicy, LearnerView, Oracle

RADII = ("theorem", "wilks")


@ALGORITHMS.register("spac_constrained")
@dataclass(frozen=True)
class SpacConstrained(Learner):
    """`max_π min_{r∈V} L(π, r)` over `V = {r ∈ 𝓡 : E_D(r) ≤ min E_D + radius}`, certified by its gap.

    Reports as `lam` the multiplier of the constraint: the `λ` at which the game (3) has this saddle; a
    finite class has none.

    `radius` "theorem" is the `ε_n` under which (T2) holds at every `n`; "wilks" the `χ²` quantile of the
    likelihood ratio (Wilks, 1938), far smaller and asymptotic: (T2) does not speak of it.
    """

    coefficient = Coefficient.SINGLE

    radius: str = choice("theorem", "how far a critic's loss may exceed the smallest", RADII)
    baseline: str = choice("view", "baseline ν; view takes what the setting says", BASELINES)

    @property
    def solves_constraint_form(self) -> bool:
        """At the theorem's radius."""
        return self.radius == "theorem"

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Needs a class over which the constrained game can be certified."""
        if isinstance(view.reward_class, FiniteClass | LinearClass):
            return super().skip(view, oracle)
        return "needs a finite or a bounded linear (tabular, kernel) reward class"

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Solve the constrained game of every data set.

        At contexts it never saw the policy is greedy in the critic, as SPAC's is; where the constraint
        excludes nothing that matters (`lam` 0) the answer is the baseline, and `π_ref` stands for it.
        """
        view = with_baseline(self.baseline, view, data)
        radius = loss_radius(view, data, self.radius)
        found = constrained_saddle(make_game(view, data, torch.zeros_like(radius)), radius)
        saddle, lam = found.saddle, found.lam

        def rule(contexts: Contexts) -> Tensor:
            critic = view.reward_class.reward_at(saddle.parameters, contexts.points)
            return torch.where((lam > 0)[:, None, None], greedy(critic), contexts.reference)

        return Fit(
            GeneralPolicy(saddle.policy, rule),
            saddle.kind,
            saddle.certificate.gap,
            None if isinstance(view.reward_class, FiniteClass) else lam,
            saddle.reward,
            saddle.converged,
            {
                "radius": radius,
                "fit_gap": found.fit_gap,
                "pessimistic_value": saddle.certificate.lower,
                "rounds": found.rounds,
            },
        )
