"""The referee: from a fit to rows of the tidy table. No algorithm grades itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from spac_theory import Fit, LearnerView, Oracle, Problem, checks
from spac_theory.algorithms import Algorithm
from spac_theory.algorithms.spac import Spac
from spac_theory.algorithms.spac_t import SpacT
from spac_theory.bandit.preferences import pair_law
from spac_theory.bounds.lower import Rivals, find_rivals
from spac_theory.bounds.upper import covering_complexity, upper_bound
from spac_theory.concentrability.coverage import Coverage
from spac_theory.problems.density import ContinuousProblem
from spac_theory.rewards.finite import FiniteClass
from spac_theory.rewards.linear import LinearClass

ROUNDING = 1e-12
Rows = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """Where fits are made and judged: the problem, how its data are drawn, what learners see."""

    problem: Problem
    family: str
    dial: float
    behaviour: Tensor
    view: LearnerView
    coverage: Coverage

    @cached_property
    def rivals(self) -> Rivals | None:
        """What the lower bound needs at every `n`; None where no search exists (networks, densities)."""
        problem, cls = self.problem, self.view.reward_class
        if isinstance(problem, ContinuousProblem) or not isinstance(cls, LinearClass | FiniteClass):
            return None
        pairs = pair_law(self.behaviour)
        return find_rivals(cls, problem.bandit.rho, problem.bandit.reward, pairs, self.view.link)

    def lower_bound(self, n: int) -> float | None:
        """The local two-point bound at `n`, maximised over the class."""
        return None if self.rivals is None else float(self.rivals.bound(torch.tensor([n])).value)


class WatchedOracle(Oracle):
    """An oracle that notes whether it was asked: the label `oracle` is a fact, not a promise."""

    def __init__(self, oracle: Oracle) -> None:
        object.__setattr__(self, "consulted", False)
        super().__init__(**vars(oracle))
        object.__setattr__(self, "consulted", False)

    def __getattribute__(self, name: str) -> Any:
        if name in Oracle.__dataclass_fields__:
            object.__setattr__(self, "consulted", True)
        return super().__getattribute__(name)


def common_rows(place: Setting, label: str, n: int, seeds: range) -> Rows:
    """The columns that say where a row belongs."""
    bandit, count = place.problem.bandit, len(seeds)
    mass = (bandit.rho[:, None] * place.behaviour * (bandit.optimal_policy > 0)).sum()
    fixed = {
        "problem": bandit.name,
        "behaviour": place.family,
        "dial": place.dial,
        "coverage": float(mass),
        "n": n,
        "algorithm": label,
        "concentrability": place.coverage.single,
        "concentrability_all": place.coverage.all.upper,
        "bound_lower": place.lower_bound(n),
    }
    return {**{name: [value] * count for name, value in fixed.items()}, "seed": list(seeds)}


def skip_rows(place: Setting, label: str, n: int, seeds: range, reason: str, oracle: bool) -> Rows:
    """Rows of a block that an algorithm declines, with its reason."""
    count = len(seeds)
    return {
        **common_rows(place, label, n, seeds),
        "oracle": [oracle] * count,
        "status": ["skipped"] * count,
        "reason": [reason] * count,
    }


def _column(name: str, tensor: Tensor | None, count: int) -> list[Any]:
    """A tensor `(S,)` as a column, null where there is none."""
    if tensor is None:
        return [None] * count
    if tensor.shape != (count,):
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}; it must be ({count},)")
    checks.is_number(name, tensor.to(torch.float64))
    values: list[Any] = tensor.tolist()
    return values


def theorem_bound(place: Setting, n: Tensor, fit: Fit, algorithm: Algorithm) -> Tensor | None:
    """(T1) for every data set at the fit's own `λ` and gap; None unless it solved the game (3).

    None too where a term is only estimated (networks), and for contexts from a density: there (T1)
    speaks of the prompts of the data, not of the contexts a policy is judged on.
    """
    if fit.certified == "estimate" or isinstance(place.problem, ContinuousProblem):
        return None
    solves_game = isinstance(algorithm, (Spac, SpacT)) or getattr(algorithm, "solves_game", False)
    if not solves_game or fit.lam is None or fit.gap is None:
        return None
    view = place.view
    size = covering_complexity(view.reward_class, n, view.delta, view.link)
    bound = view.reward_class.difference_bound
    c = place.coverage.single
    return upper_bound(bound, c, size, fit.lam, fit.gap, view.link).total


def fit_rows(
    place: Setting,
    label: str,
    seeds: range,
    n: Tensor,
    fit: Fit,
    algorithm: Algorithm,
    seconds: float,
) -> Rows:
    """Rows of a fitted block, evaluated exactly.

    Raises ValueError for a policy of the wrong shape, InputError for one that is no probability,
    and ArithmeticError where an exact suboptimality is negative beyond rounding.
    """
    bandit, count = place.problem.bandit, len(seeds)
    policy = fit.policy.probabilities()
    if policy.shape != (count, *bandit.shape):
        raise ValueError(f"policy has shape {tuple(policy.shape)}, not {(count, *bandit.shape)}")
    suboptimality = bandit.suboptimality(policy)
    if bool((suboptimality < -ROUNDING).any()):
        raise ArithmeticError(f"suboptimality is {float(suboptimality.min()):g}, below 0")
    tensors = {
        "lam": fit.lam,
        "value": bandit.value(policy),
        "suboptimality": suboptimality,
        "bound_upper": theorem_bound(place, n, fit, algorithm),
        "gap": fit.gap,
        "converged": fit.converged,
        **{name: value.to(torch.float64) for name, value in fit.extra.items()},
    }
    return {
        **common_rows(place, label, int(n[0]), seeds),
        **{name: _column(name, tensor, count) for name, tensor in tensors.items()},
        "certified": [fit.certified] * count,
        "status": ["done"] * count,
        "seconds": [seconds / count] * count,
    }
