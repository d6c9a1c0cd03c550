"""The referee: from a fit to rows of the tidy table. It decides every column; no algorithm grades itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from experiments.engine.columns import COLUMNS
from experiments.engine.setting import Setting
from experiments.engine.specs import Spec
from spac_theory import Fit, InputError, Oracle, checks
from spac_theory.algorithms import Algorithm
from spac_theory.bandit.online import OnlineAccess
from spac_theory.view import GAP_KINDS

ROUNDING = 1e-12
Rows = dict[str, Any]


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


def theorem_bound(setting: Setting, n: Tensor, fit: Fit, algorithm: Algorithm) -> Tensor | None:
    """(T1) at the fit's own `λ` and gap, or (T2) at its gaps; None unless it solved the game of one.

    None too for a baseline of the algorithm's own: the coverage that is known is that of the view's.
    """
    own_baseline = getattr(algorithm, "baseline", "view") != "view"
    if own_baseline or fit.gap_kind == "estimate" or fit.gap is None:
        return None
    if getattr(algorithm, "solves_constraint_form", False):
        return setting.constraint_bound(n, fit.extra["fit_gap"], fit.gap)
    if not getattr(algorithm, "solves_game", False) or fit.lam is None:
        return None
    return setting.upper_bound(n, fit.lam, fit.gap)


@dataclass(frozen=True)
class Referee:
    """Judges one algorithm on one block of data sets: `seeds`, each of `n` comparisons."""

    setting: Setting
    label: str
    spec: Spec
    n: int
    seeds: range

    def place(self) -> Rows:
        """The columns that say where a row belongs, and what is known before any fit."""
        bandit, count = self.setting.problem.bandit, len(self.seeds)
        mass = bandit.rho[:, None] * self.setting.behaviour * (bandit.optimal_policy > 0)
        fixed = {
            **{k: v for k, v in self.setting.facts.items() if k in COLUMNS},
            "coverage": float(mass.sum()),
            "n": self.n,
            "algorithm": self.label,
            "method": self.spec["name"],
            "options": json.dumps(self.spec["options"], sort_keys=True, ensure_ascii=False),
            "concentrability": self.setting.coverage.single,
            "concentrability_all": self.setting.coverage.all.upper,
            "bound_star": self.setting.star_bound(self.n),
            "bound_lower": self.setting.lower_bound(self.n),
            "range": self.setting.view.reward_class.difference_bound,
        }
        return {
            **{name: [value] * count for name, value in fixed.items()},
            "seed": list(self.seeds),
        }

    def unfitted(self, status: str, reason: str | None) -> Rows:
        """Rows of a block without a fit: skipped, failed or missing, with the reason."""
        count = len(self.seeds)
        return {**self.place(), "status": [status] * count, "reason": [reason] * count}

    def skipped(self, reason: str, oracle: WatchedOracle) -> Rows:
        """Rows of a block that an algorithm declines."""
        rows = self.unfitted("skipped", reason)
        return self._watched(rows, oracle, None)

    def fitted(
        self,
        fit: Fit,
        algorithm: Algorithm,
        oracle: WatchedOracle,
        access: OnlineAccess | None,
        seconds: float,
    ) -> Rows:
        """Rows of a fitted block, evaluated exactly.

        Raises ValueError for a policy or column of the wrong shape or for a column that is the
        referee's own, InputError for a policy that is no probability and for NaN, and ArithmeticError
        where an exact suboptimality is negative beyond rounding.
        """
        bandit, count = self.setting.problem.bandit, len(self.seeds)
        policy = fit.policy.probabilities()
        if policy.shape != (count, *bandit.shape):
            raise ValueError(
                f"policy has shape {tuple(policy.shape)}, not {(count, *bandit.shape)}"
            )
        checks.choice("gap_kind", fit.gap_kind, GAP_KINDS)
        suboptimality = bandit.suboptimality(policy)
        if bool((suboptimality < -ROUNDING).any()):
            raise ArithmeticError(f"suboptimality is {float(suboptimality.min()):g}, below 0")
        tensors = {
            "lam": fit.lam,
            "value": bandit.value(policy),
            "suboptimality": suboptimality,
            "exploitability": self.exploitability(policy),
            "bound_upper": theorem_bound(
                self.setting, torch.full((count,), self.n), fit, algorithm
            ),
            "gap": fit.gap,
            "converged": fit.converged,
            **own_columns(fit),
        }
        rows = {
            **self.place(),
            **{name: column(name, tensor, count) for name, tensor in tensors.items()},
            "gap_kind": [str(fit.gap_kind)] * count,
            "status": ["done"] * count,
            "seconds": [seconds / count] * count,
        }
        return self._watched(rows, oracle, access)

    def exploitability(self, policy: Tensor) -> Tensor | None:
        """`E_x max_a P(a ≻ π) − ½`, `(S,)`, where no reward explains the preferences."""
        explained = self.setting.problem.preference is None
        return None if explained else self.setting.exploitability(policy)

    def _watched(self, rows: Rows, oracle: WatchedOracle, access: OnlineAccess | None) -> Rows:
        """What the fit asked for: the oracle, and labels; the lower bound speaks of learners without."""
        count = len(self.seeds)
        rows["oracle"] = [oracle.consulted] * count
        if oracle.consulted:
            rows["bound_lower"] = [None] * count
        if access is not None:
            rows["queries"] = (access.labels + access.scores).to(torch.float64).tolist()
        return rows


def own_columns(fit: Fit) -> dict[str, Tensor]:
    """The columns that an algorithm adds; none may be one of the referee's."""
    taken = sorted(set(fit.extra) & set(COLUMNS))
    if taken:
        raise ValueError(
            f"extra holds {taken[0]!r}, a column that the referee alone decides; give it another name"
        )
    return {name: value.to(torch.float64) for name, value in fit.extra.items()}


def column(name: str, tensor: Tensor | None, count: int) -> list[Any]:
    """A tensor `(S,)` as a column, null where there is none; NaN is no result."""
    if tensor is None:
        return [None] * count
    if tensor.shape != (count,):
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}; it must be ({count},)")
    if bool(torch.isnan(tensor).any()):
        raise InputError(
            f"{name} is NaN for {int(torch.isnan(tensor).sum())} of {count} data sets."
        )
    values: list[Any] = tensor.tolist()
    return values
