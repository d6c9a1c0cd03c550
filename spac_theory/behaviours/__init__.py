"""Families of behaviour policies with a dial, one file each, and the coverage they report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from spac_theory.concentrability import AllPolicy
from spac_theory.concentrability_classes import Design, all_policies_of, concentrability_of
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
    """Concentrability of the optimal policy and of all policies, theory (8).

    `kind` says whether `single` is "exact", an "upper bound" or a "lower estimate" (networks).
    """

    single: float
    all: AllPolicy
    kind: str = "exact"


def coverage(problem: Problem, behaviour: Tensor, baseline: Tensor | None = None) -> Coverage:
    """What two independent draws from `behaviour (X, A)` cover; `baseline` defaults to it."""
    bandit, nu = problem.bandit, behaviour if baseline is None else baseline
    design = Design(bandit.reward, bandit.rho, pair_law(behaviour), nu)
    single = concentrability_of(problem.reward_class, design, bandit.optimal_policy)
    everything = all_policies_of(problem.reward_class, design)
    return Coverage(single.value, everything, single.kind)
