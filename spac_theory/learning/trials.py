"""From a problem and a behaviour to what a learner gets: law, view, data, oracle.

Experiments, claims and tests all start here, so that data of one key are the same wherever they are
drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from spac_theory.bandit.online import OnlineAccess
from spac_theory.bandit.preferences import (
    PreferenceModel,
    WinnerCounts,
    pair_law,
    sample_winner_counts,
    winner_law,
)
from spac_theory.concentrability.coverage import Coverage, coverage
from spac_theory.learning.preference_game import exploitability
from spac_theory.links import BRADLEY_TERRY, Link
from spac_theory.problems import Problem, true_preference
from spac_theory.view import LearnerView, Oracle


@dataclass(frozen=True)
class Trial:
    """A problem, the behaviour `μ (X, A)` its data come from, and the learner's view of it.

    `streams` name the random streams of the data, after the bandit's own name; `known` is the coverage
    where it is not to be computed from the reward class.
    """

    problem: Problem
    behaviour: Tensor
    view: LearnerView
    streams: tuple[str, ...] = field(default=("trial",), kw_only=True)
    known: Coverage | None = field(default=None, kw_only=True)

    @cached_property
    def preference(self) -> PreferenceModel:
        """The true preferences: the problem's own, or those of the reward under the view's link."""
        return true_preference(self.problem, self.view.link)

    @cached_property
    def law(self) -> Tensor:
        """The law of (context, winner, loser), `(X, A, A)`."""
        return winner_law(self.problem.bandit.rho, pair_law(self.behaviour), self.preference)

    @cached_property
    def coverage(self) -> Coverage:
        """How the behaviour covers the optimal policy, and every policy."""
        return self.known or coverage(self.problem, self.behaviour, self.view.baseline)

    def data(self, n: int, seeds: int | range | list[int], *key: str) -> WinnerCounts:
        """Data sets of `n` comparisons, nested over `n`; `seeds` says which, or how many.

        Their streams are named by the problem and `key`, or `streams` where there is none.
        """
        names = (self.problem.bandit.name, *(key or self.streams))
        chosen = range(seeds) if isinstance(seeds, int) else seeds
        return sample_winner_counts(self.law, n, chosen, *names)

    def access(self, seeds: range | list[int], labels: int, *key: str) -> OnlineAccess:
        """Online labels of the truth and a judge of its rewards, `labels` for each data set."""
        bandit = self.problem.bandit
        name = (bandit.name, *key)
        return OnlineAccess(self.preference, bandit.rho, seeds, labels, bandit.reward, name)

    def oracle(self, seeds: range | list[int] = range(0), labels: int = 0, *key: str) -> Oracle:
        """`C(π*)` and the true preferences; online access where `labels` are granted."""
        access = self.access(seeds, labels, *key) if labels else None
        return Oracle(self.coverage.single, access, self.preference)

    def suboptimality(self, policy: Tensor) -> Tensor:
        """`J(π*) − J(π)`, `(..., X, A) -> (...)`."""
        return self.problem.bandit.suboptimality(policy)

    def exploitability(self, policy: Tensor) -> Tensor:
        """How much more than half of the time some response beats the policy, `(..., X, A) -> (...)`."""
        bandit = self.problem.bandit
        return exploitability(policy, self.preference.probability, bandit.rho)


def make_trial(
    problem: Problem,
    behaviour: Tensor,
    *,
    reference: Tensor | None = None,
    baseline: Tensor | None = None,
    link: Link = BRADLEY_TERRY,
    delta: float = 0.1,
) -> Trial:
    """The trial of a problem and a behaviour; `π_ref` and `ν` are the behaviour unless given."""
    view = LearnerView(
        problem.reward_class,
        problem.bandit.rho,
        behaviour if reference is None else reference,
        behaviour if baseline is None else baseline,
        link,
        delta,
        problem.known_contexts,
    )
    return Trial(problem, behaviour, view)
