"""SPAC as its limit: the exact saddle of the game (3), Ji et al. (2024), arXiv 2406.04274."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from spac_theory import checks
from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.contextual import greedy
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning import lambda_rules
from spac_theory.learning.baselines import BASELINES, with_baseline
from spac_theory.saddle.solve import solve_saddle
from spac_theory.view import Contexts, Fit, GeneralPolicy, LearnerView, Oracle


@ALGORITHMS.register("spac")
@dataclass(frozen=True)
class Spac:
    """`max_π min_{r∈𝓡} L(π, r) + λ E_D(r)`, solved exactly and certified by its duality gap.

    Attributes
    ----------
    lam : the rule for `λ`: one of `lambda_rules.RULES`
    scale : multiplies what the rule gives (for `fixed` it is `λ` itself); `scale ≥ 0`
    baseline : `ν`, one of `baselines.BASELINES`; "view" takes what the setting says
    """

    lam: str = "sqrt_n"
    scale: float = 1.0
    baseline: str = "view"

    def __post_init__(self) -> None:
        checks.choice("lam", self.lam, lambda_rules.RULES)
        checks.number("scale", self.scale, low=0)
        checks.choice("baseline", self.baseline, BASELINES)

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Needs coverage of `π*` for the oracle rule."""
        return lambda_rules.lambda_skip(self.lam, oracle)

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
