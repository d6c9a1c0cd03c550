"""Where fits are made and judged: the problem, how its data are drawn, what learners see."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self, cast

import torch
from torch import Tensor

from experiments.engine.specs import Spec, build_behaviour, build_problem, describe
from spac_theory import Fit, Oracle, Problem, checks, make_behaviour, make_problem, pair_law
from spac_theory.algorithms import Algorithm
from spac_theory.bandit.online import OnlineAccess
from spac_theory.behaviours import BehaviourFamily
from spac_theory.bounds.constraint import ConstraintBound, constraint_bound
from spac_theory.bounds.lower import Rivals, find_rivals, searchable
from spac_theory.bounds.upper import (
    Complexity,
    UpperBound,
    best_upper_bound,
    covering_complexity,
    upper_bound,
)
from spac_theory.learning.density import fit_continuous
from spac_theory.learning.trials import Trial, make_trial
from spac_theory.problems.density import ContinuousProblem

Theorem = Callable[..., UpperBound | ConstraintBound]
BASELINES = ("behaviour", "uniform", "optimal", "worst")


@dataclass(frozen=True)
class OwnPrompts:
    """Data sets that each have prompts of their own: drawn when an algorithm is fitted."""

    n: Tensor
    seeds: range


@dataclass(frozen=True)
class Setting(Trial):
    """A trial that the engine plays: its bounds, and in `facts` the columns that say where a row was made."""

    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, trial: Trial, **more: Any) -> Self:
        """A trial as a setting; its coverage is computed now, so that what has none is refused at once."""
        parts = {f.name: getattr(trial, f.name) for f in dataclasses.fields(Trial)}
        return cls(**{**parts, "known": trial.coverage, **more})

    def fit(self, algorithm: Algorithm, data: Any, oracle: Oracle | None = None) -> Fit:
        """One fit of all data sets."""
        return algorithm.fit(self.view, data, oracle)

    def online(self, seeds: range, labels: int) -> OnlineAccess | None:
        """Online labels on a budget; None where it grants none."""
        key = (self.facts["behaviour_name"], self.streams[-1])
        return self.access(seeds, labels, *key) if labels else None

    @property
    def bounded(self) -> bool:
        """Whether (T1) speaks of the numbers of this setting.

        Not where `C(π*)` is only estimated, nor where no reward explains the preferences.
        """
        explained = self.problem.preference is None
        return explained and self.coverage.kind != "lower estimate"

    def upper_bound(self, n: Tensor, lam: Tensor, gap: Tensor) -> Tensor | None:
        """(T1) for every data set at its own `λ` and certified gap, `(S,)`; None where it is silent."""
        return self._bound(upper_bound, n, lam, gap)

    def constraint_bound(self, n: Tensor, fit_gap: Tensor, gap: Tensor) -> Tensor | None:
        """(T2) for every data set at its own certified gaps, `(S,)`; None where it is silent."""
        return self._bound(constraint_bound, n, fit_gap, gap)

    def _bound(self, theorem: Theorem, n: Tensor, *of_fit: Tensor) -> Tensor | None:
        if not self.bounded:
            return None
        largest, single = self.view.reward_class.difference_bound, self.coverage.single
        return theorem(largest, single, self.size(n), *of_fit, self.view.link).total

    def size(self, n: Tensor) -> Complexity:
        """`ε_n` of the reward class at every `n (S,)`."""
        return covering_complexity(self.view.reward_class, n, self.view.delta, self.view.link)

    def star_bound(self, n: int) -> float | None:
        """(T1) at `λ*` for an exactly solved game, `2√(κ C(π*) ε_n) + net`; None where it is silent."""
        if not self.bounded:
            return None
        largest, single = self.view.reward_class.difference_bound, self.coverage.single
        size = self.size(torch.tensor([n]))
        return float(best_upper_bound(largest, single, size, self.view.link))

    @functools.cached_property
    def rivals(self) -> Rivals | None:
        """What the lower bound needs at every `n`; None where no search exists (networks, densities)."""
        bandit, cls = self.problem.bandit, self.view.reward_class
        if self.problem.preference is not None or not searchable(cls):
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

    def data(self, n: int, seeds: Any, *key: str) -> Any:
        """Where prompts will be drawn from."""
        return OwnPrompts(torch.full((len(seeds),), n), seeds)

    def fit(self, algorithm: Algorithm, data: Any, oracle: Oracle | None = None) -> Fit:
        """Fit the data sets one by one, each on its own prompts."""
        assert self.family is not None
        problem = cast(ContinuousProblem, self.problem)
        place = (problem, self.family, self.dial, int(data.n[0]), data.seeds)
        return fit_continuous(*place, algorithm, self.view, oracle, *self.streams)


def named_policy(field: str, name: str, problem: Problem, behaviour: Tensor) -> Tensor:
    """One of `BASELINES`, for the setting `field`; the last two know the true reward."""
    checks.choice(field, name, BASELINES)
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
    nu = named_policy("baseline", baseline, built, mu)
    return Setting.of(make_trial(built, mu, baseline=nu, delta=delta))


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
    reference, nu = (named_policy(k, options[k], built, mu) for k in ("reference", "baseline"))
    trial = make_trial(built, mu, reference=reference, baseline=nu, delta=options["delta"])
    streams = json.dumps([family_spec["name"], family_spec["options"]], sort_keys=True)
    facts = {
        "problem": describe("problem", spec),
        "behaviour": describe("behaviour", family_spec),
        "behaviour_name": family_spec["name"],
        "dial": dial,
        **{name: options[name] for name in ("delta", "reference", "baseline")},
    }
    common = {"streams": (streams, repr(dial)), "facts": facts}
    if built.known_contexts:
        return Setting.of(trial, **common)
    return DensitySetting.of(trial, **common, family=family, dial=dial)
