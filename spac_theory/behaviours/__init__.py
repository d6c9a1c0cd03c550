"""Families of behaviour policies with a dial, one file each, and the coverage they report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from spac_theory.concentrability import (
    AllPolicy,
    all_policy_concentrability,
    single_policy_concentrability,
)
from spac_theory.preferences import pair_law
from spac_theory.problems import Problem
from spac_theory.registry import Registry, build


class BehaviourFamily(Protocol):
    """A frozen dataclass of options whose `policy` turns the dial.

    `dial_name` says what the dial is, `dial_range` the interval it may take.
    """

    dial_name: str
    dial_range: tuple[float, float]

    def policy(self, problem: Problem, dial: float) -> Tensor:
        """The behaviour `μ`, `(X, A)`."""
        ...


BEHAVIOURS: Registry[type[BehaviourFamily]] = Registry("behaviour", "spac_theory.behaviours")


def make_behaviour(name: str, **options: Any) -> BehaviourFamily:
    """The family `name`; InputError for unknown names, options or values."""
    family: BehaviourFamily = build(f"behaviour {name!r}", BEHAVIOURS[name], options)
    return family


@dataclass(frozen=True)
class Coverage:
    """Exact concentrability of the optimal policy and of all policies, theory (8) with `ν = μ`."""

    single: float
    all: AllPolicy


def coverage(problem: Problem, behaviour: Tensor, baseline: Tensor | None = None) -> Coverage:
    """What two independent draws from `behaviour (X, A)` cover; `baseline` defaults to it."""
    bandit, pairs = problem.bandit, pair_law(behaviour)
    nu = behaviour if baseline is None else baseline
    single = single_policy_concentrability(
        bandit.features, bandit.rho, pairs, bandit.optimal_policy, nu
    )
    everything = all_policy_concentrability(bandit.features, bandit.rho, pairs, nu)
    return Coverage(float(single), everything)
