"""One problem, one behaviour, one baseline: the common ground of the small programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spac_theory import (
    LearnerView,
    PreferenceModel,
    Problem,
    WinnerCounts,
    checks,
    coverage,
    make_behaviour,
    make_problem,
    pair_law,
    sample_winner_counts,
    winner_law,
)
from spac_theory.concentrability.coverage import Coverage

BASELINES = ("behaviour", "uniform", "optimal", "worst")


@dataclass(frozen=True)
class Place:
    """A problem with data of a given coverage, and the learner's view of it."""

    problem: Problem
    behaviour: Tensor
    view: LearnerView
    coverage: Coverage

    def data(self, n: int, seeds: int) -> WinnerCounts:
        """`seeds` data sets of `n` comparisons, nested over `n`."""
        bandit = self.problem.bandit
        model = PreferenceModel.from_reward(bandit.reward, self.view.link)
        law = winner_law(bandit.rho, pair_law(self.behaviour), model)
        return sample_winner_counts(law, n, range(seeds), bandit.name, "trial")

    def suboptimality(self, policy: Tensor) -> Tensor:
        """`J(π*) − J(π)`, `(S,)`."""
        return self.problem.bandit.suboptimality(policy)


def baseline_policy(name: str, problem: Problem, behaviour: Tensor) -> Tensor:
    """One of `BASELINES`; the last two know the true reward."""
    checks.choice("baseline", name, BASELINES)
    reward = problem.bandit.reward
    return {
        "behaviour": behaviour,
        "uniform": torch.full_like(behaviour, 1 / behaviour.shape[-1]),
        "optimal": problem.bandit.optimal_policy,
        "worst": torch.nn.functional.one_hot(reward.argmin(-1), reward.shape[-1]).double(),
    }[name]


def named_problem(spec: Mapping[str, Any]) -> Problem:
    """The problem of a configuration group: `{name: ..., option: value, ...}`."""
    options = {str(key): value for key, value in spec.items() if key != "name"}
    return make_problem(str(spec.get("name")), **options)


def place(
    problem: str | Problem, share: float, delta: float = 0.1, baseline: str = "behaviour"
) -> Place:
    """The problem (by name, with its default options) at coverage `share` of the optimal policy."""
    built = make_problem(problem) if isinstance(problem, str) else problem
    mu = make_behaviour("coverage").policy(built, share)
    nu = baseline_policy(baseline, built, mu)
    view = LearnerView(built.reward_class, built.bandit.rho, mu, nu, delta=delta)
    return Place(built, mu, view, coverage(built, mu, nu))
