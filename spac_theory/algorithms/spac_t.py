"""SPAC-T, the paper's Algorithm 1: `T` rounds of mirror ascent against a certified critic."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning import lambda_rules
from spac_theory.learning.lambda_rules import lambda_skip, rule_option
from spac_theory.learning.needs import Coefficient, Learner
from spac_theory.options import choice, integer, number
from spac_theory.rewards.base import gap_kind
from spac_theory.saddle.mirror_descent import CRITICS, SelfPlay, mirror_descent
from spac_theory.view import Contexts, Fit, GeneralPolicy, LearnerView, Oracle


@ALGORITHMS.register("spac_t")
@dataclass(frozen=True)
class SpacT(Learner):
    """Theory (4)–(5); the gap of the mixture is at most `R √(log A / (2T))` plus the critics' average gap.

    That average, at most a hundredth of Hedge's bound, is the column `critic_gap`.
    """

    coefficient = Coefficient.SINGLE
    solves_game = True

    iterations: int = integer(100, "rounds T")
    output: str = choice(
        "mixture", "mixture (the policy of the guarantee) or last", ("mixture", "last")
    )
    start: str = choice("uniform", "first policy: uniform or reference", ("uniform", "reference"))
    critic: str = choice(
        "inexact",
        "critics that are accurate on average (inexact) or in every round (exact)",
        CRITICS,
    )
    lam: str = rule_option()
    scale: float = number(1.0, "multiplies what the rule gives (for fixed it is λ)", low=0)

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """A reference start needs full support."""
        if self.start == "reference" and float(view.reference.min()) == 0:
            return "mirror ascent from π_ref needs π_ref > 0 everywhere"
        return super().skip(view, oracle) or lambda_skip(self.lam, oracle)

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Play `T` rounds on every data set at once."""
        chosen = lambda_rules.choose(self.lam, self.scale, view, data, oracle)
        game = lambda_rules.make_game(view, data, chosen.lam)
        first = view.reference if self.start == "reference" else None
        run = mirror_descent(game, self.iterations, first, critic=self.critic)
        gap = run.certificate.gap
        if self.output == "last":
            response = game.best_response(run.last)
            gap = run.certificate.upper - (response.value - response.gap)
        kind = gap_kind(view.reward_class)
        extra = {"hedge_bound": torch.full_like(gap, run.bound), "critic_gap": run.critic_gap}
        if kind == "estimate":
            extra["critic_spread"] = run.spread
        return Fit(
            GeneralPolicy(
                run.mixture if self.output == "mixture" else run.last,
                lambda contexts: self._weights(view, run, contexts),
            ),
            kind,
            gap,
            chosen.lam,
            run.reward,
            None,
            extra,
        )

    def _weights(self, view: LearnerView, run: SelfPlay, contexts: Contexts) -> Tensor:
        """The exponential weights (5) at other contexts: `π_t ∝ π_1 exp(η Σ_{s<t} r_s)`."""
        start = contexts.reference if self.start == "reference" else None
        shape = contexts.points.shape[:2]
        first = torch.full(shape, 1 / shape[1], dtype=torch.float64) if start is None else start
        logits = first.log().expand(len(run.mixture), -1, -1)
        policy = mixture = torch.zeros_like(logits)
        for parameters in run.parameters:
            policy = torch.softmax(logits, -1)
            mixture = mixture + policy / len(run.parameters)
            reward = view.reward_class.reward_at(parameters, contexts.points)
            logits = logits + run.eta * reward
        return mixture if self.output == "mixture" else policy
