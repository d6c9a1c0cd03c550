"""SPAC as its limit: the exact saddle of the game (3), Ji et al. (2024), arXiv 2406.04274."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.contextual import greedy
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning import lambda_rules
from spac_theory.learning.baselines import BASELINES, with_baseline
from spac_theory.learning.lambda_rules import rule_option
from spac_theory.learning.needs import Coefficient, Learner
from spac_theory.options import choice, number
from spac_theory.saddle.solve import solve_saddle
from spac_theory.view import Contexts, Fit, GeneralPolicy, LearnerView, Oracle


@ALGORITHMS.register("spac")
@dataclass(frozen=True)
class Spac(Learner):
    """`max_π min_{r∈𝓡} L(π, r) + λ E_D(r)`, solved exactly and certified by its duality gap."""

    coefficient = Coefficient.SINGLE
    solves_game = True

    lam: str = rule_option()
    scale: float = number(1.0, "multiplies what the rule gives (for fixed it is λ)", low=0)
    baseline: str = choice("view", "baseline ν; view takes what the setting says", BASELINES)

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Needs coverage of `π*` for the oracle rule."""
        return super().skip(view, oracle) or lambda_rules.lambda_skip(self.lam, oracle)

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Solve the game of every data set.

        At contexts it never saw the policy is greedy in the critic: with contexts from a density the
        critic's maxima are almost surely unique, and greedy is the saddle's own policy.
        """
        view = with_baseline(self.baseline, view, data)
        chosen = lambda_rules.choose(self.lam, self.scale, view, data, oracle)
        saddle = chosen.saddle
        if saddle is None:
            saddle = solve_saddle(lambda_rules.make_game(view, data, chosen.lam))
        parameters, extra = saddle.parameters, dict(chosen.extra or {})
        if saddle.spread is not None:
            extra["critic_spread"] = saddle.spread

        def rule(contexts: Contexts) -> Tensor:
            return greedy(view.reward_class.reward_at(parameters, contexts.points))

        return Fit(
            GeneralPolicy(saddle.policy, rule),
            saddle.kind,
            saddle.certificate.gap,
            chosen.lam,
            saddle.reward,
            saddle.converged,
            extra,
        )
