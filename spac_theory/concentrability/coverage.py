"""What data from a behaviour cover: of the optimal policy, and of all policies."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from spac_theory.bandit.preferences import pair_law
from spac_theory.concentrability.classes import Design, all_policies_of, concentrability_of
from spac_theory.concentrability.linear import AllPolicy
from spac_theory.problems import Problem


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
