"""Where fits are made and judged: the problem, how its data are drawn, what learners see."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from experiments.engine.specs import Spec, build_behaviour, build_problem, describe
from spac_theory import (
    Fit,
    InputError,
    LearnerView,
    Oracle,
    Problem,
    checks,
    coverage,
    make_behaviour,
    make_problem,
    pair_law,
    sample_winner_counts,
    winner_law,
)
from spac_theory.algorithms import Algorithm
from spac_theory.bandit.online import OnlineAccess
from spac_theory.behaviours import BehaviourFamily
from spac_theory.bounds.constraint import constraint_bound
from spac_theory.bounds.lower import Rivals, find_rivals
from spac_theory.bounds.upper import best_upper_bound, covering_complexity, upper_bound
from spac_theory.concentrability.coverage import Coverage
from spac_theory.learning.density import fit_continuous
from spac_theory.problems import true_preference
from spac_theory.problems.density import ContinuousProblem
from spac_theory.rewards.finite import FiniteClass
from spac_theory.rewards.linear import LinearClass

BASELINES = ("behaviour", "uniform", "optimal", "worst")


class Declined(Exception):
    """An algorithm that cannot treat a setting, found out while it was tried."""


@dataclass(frozen=True)
class OwnPrompts:
    """Data sets that each have prompts of their own: drawn when an algorithm is fitted."""

    n: Tensor
    seeds: range


@dataclass(frozen=True)
class Setting:
    """A problem with data of a given coverage, and the learner's view of it.

    `key` names the random streams of the data, after the bandit's own name; `facts` are the columns that
    say in words where a row was made.
    """

    problem: Problem
    behaviour: Tensor
    view: LearnerView
    coverage: Coverage
    key: tuple[str, ...] = ("trial",)
    facts: dict[str, Any] = field(default_factory=dict)

    def law(self) -> Tensor:
        """The law of one comparison, `(X, A, A)`: winner before loser."""
        bandit = self.problem.bandit
        model = true_preference(self.problem, self.view.link)
        return winner_law(bandit.rho, pair_law(self.behaviour), model)

    def data(self, n: int, seeds: int | range) -> Any:
        """Data sets of `n` comparisons, nested over `n`; `seeds` says which, or how many."""
        chosen = range(seeds) if isinstance(seeds, int) else seeds
        return sample_winner_counts(self.law(), n, chosen, self.problem.bandit.name, *self.key)

    def fit(self, algorithm: Algorithm, data: Any, oracle: Oracle | None = None) -> Fit:
        """One fit of all data sets."""
        return algorithm.fit(self.view, data, oracle)

    def access(self, budget: int, seeds: range) -> OnlineAccess | None:
        """Online labels on a budget; None where it grants none."""
        if budget == 0:
            return None
        bandit = self.problem.bandit
        preference = true_preference(self.problem, self.view.link)
        key = (bandit.name, self.facts["behaviour_name"], self.key[-1])
        return OnlineAccess(preference, bandit.rho, seeds, budget, bandit.reward, key)

    def suboptimality(self, policy: Tensor) -> Tensor:
        """`J(π*) − J(π)`, `(S,)`."""
        return self.problem.bandit.suboptimality(policy)

    @property
    def bounded(self) -> bool:
        """Whether (T1) speaks of the numbers of this setting.

        Not where `C(π*)` is only estimated, nor where no reward explains the preferences.
        """
        explained = self.problem.preference is None
        return explained and self.coverage.kind != "lower estimate"

    def upper_bound(self, n: Tensor, lam: Tensor, gap: Tensor) -> Tensor | None:
        """(T1) for every data set at its own `λ` and certified gap, `(S,)`; None where it is silent."""
        if not self.bounded:
            return None
        cls, link = self.view.reward_class, self.view.link
        size = covering_complexity(cls, n, self.view.delta, link)
        single = self.coverage.single
        return upper_bound(cls.difference_bound, single, size, lam, gap, link).total

    def constraint_bound(self, n: Tensor, fit_gap: Tensor, gap: Tensor) -> Tensor | None:
        """(T2) for every data set at its own certified gaps, `(S,)`; None where it is silent."""
        if not self.bounded:
            return None
        cls, link = self.view.reward_class, self.view.link
        size = covering_complexity(cls, n, self.view.delta, link)
        single = self.coverage.single
        return constraint_bound(cls.difference_bound, single, size, fit_gap, gap, link).total

    def star_bound(self, n: int) -> float | None:
        """(T1) at `λ*` for an exactly solved game, `2√(κ C(π*) ε_n) + net`; None where it is silent."""
        if not self.bounded:
            return None
        cls, link = self.view.reward_class, self.view.link
        size = covering_complexity(cls, torch.tensor([n]), self.view.delta, link)
        return float(best_upper_bound(cls.difference_bound, self.coverage.single, size, link))

    @functools.cached_property
    def rivals(self) -> Rivals | None:
        """What the lower bound needs at every `n`; None where no search exists (networks, densities)."""
        bandit, cls = self.problem.bandit, self.view.reward_class
        if self.problem.preference is not None or not isinstance(cls, LinearClass | FiniteClass):
            return None
        pairs = pair_law(self.behaviour)
        return find_rivals(cls, bandit.rho, bandit.reward, pairs, self.view.link)

    def lower_bound(self, n: int) -> float | None:
        """The local two-point bound at `n`, maximised over the class."""
        return None if self.rivals is None else float(self.rivals.bound(torch.tensor([n])).value)


@dataclass(frozen=True)
class DensitySetting(Setting):
    """Contexts from a density: every data set has its own prompts, and is judged on fresh ones.

    (T1) and the two-point bound speak of the prompts of the data, not of the contexts that a policy is
    judged on: both are silent here.
    """

    family: BehaviourFamily | None = None
    dial: float = 0.0

    @property
    def bounded(self) -> bool:
        """Never."""
        return False

    @property
    def rivals(self) -> None:
        """None: there is no search."""

    def data(self, n: int, seeds: int | range) -> OwnPrompts:
        """Where prompts will be drawn from."""
        chosen = range(seeds) if isinstance(seeds, int) else seeds
        return OwnPrompts(torch.full((len(chosen),), n), chosen)

    def fit(self, algorithm: Algorithm, data: Any, oracle: Oracle | None = None) -> Fit:
        """Fit the data sets one by one, each on its own prompts."""
        problem, n = self.problem, int(data.n[0])
        assert isinstance(problem, ContinuousProblem)
        assert self.family is not None
        place = (problem, self.family, self.dial, n, data.seeds)
        try:
            return fit_continuous(*place, algorithm, self.view, oracle, *self.key)
        except InputError as error:
            if str(error).startswith(("policy is a table", "algorithm cannot treat")):
                raise Declined(str(error)) from error
            raise


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


def at_coverage(
    problem: str | Problem, share: float, delta: float = 0.1, baseline: str = "behaviour"
) -> Setting:
    """A problem (by name: with its default options) at coverage `share` of the optimal policy."""
    built = make_problem(problem) if isinstance(problem, str) else problem
    mu = make_behaviour("coverage").policy(built, share)
    nu = baseline_policy(baseline, built, mu)
    view = LearnerView(built.reward_class, built.bandit.rho, mu, nu, delta=delta)
    return Setting(built, mu, view, coverage(built, mu, nu))


def setting_of(problem: Spec, behaviour: Spec, dial: float, learner: Spec) -> Setting:
    """The setting of a cell, from plain specs; kept, because many units share it."""
    specs = (json.dumps(spec, sort_keys=True) for spec in (problem, behaviour, learner))
    return _built(*specs, dial)


def forget_settings() -> None:
    """Build every setting anew: something has changed the ones that are kept."""
    _built.cache_clear()


@functools.lru_cache(maxsize=32)
def _built(problem: str, behaviour: str, learner: str, dial: float) -> Setting:
    spec, family_spec, options = json.loads(problem), json.loads(behaviour), json.loads(learner)
    built, family = build_problem(spec), build_behaviour(family_spec)
    mu = family.policy(built, dial)
    reference, nu = (baseline_policy(options[k], built, mu) for k in ("reference", "baseline"))
    view = LearnerView(built.reward_class, built.bandit.rho, reference, nu, delta=options["delta"])
    streams = json.dumps([family_spec["name"], family_spec["options"]], sort_keys=True)
    facts = {
        "problem": describe("problem", spec),
        "behaviour": describe("behaviour", family_spec),
        "behaviour_name": family_spec["name"],
        "dial": dial,
        **{name: options[name] for name in ("delta", "reference", "baseline")},
    }
    common = (built, mu, view, coverage(built, mu, view.baseline), (streams, repr(dial)), facts)
    if isinstance(built, ContinuousProblem):
        return DensitySetting(*common, family, dial)
    return Setting(*common)
