"""Single-policy coverage: how much of the behaviour plays the optimal policy."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from spac_theory import checks
from spac_theory.behaviours import BEHAVIOURS
from spac_theory.options import Options
from spac_theory.problems import Problem


def others(problem: Problem) -> Tensor:
    """The problem's profile restricted to actions that are not optimal, normalised, `(X, A)`."""
    mass = problem.profile * (problem.bandit.optimal_policy == 0)
    return mass / mass.sum(-1, keepdim=True).clamp_min(1e-300)


@BEHAVIOURS.register("coverage")
@dataclass(frozen=True)
class CoverageDial(Options):
    """`μ = p π* + (1 − p) · profile without π*`, dial `p`; `C(π*) = ∞` at `p = 0`."""

    dial_name = "coverage of π*"
    dial_range = (0.0, 1.0)

    def policy(self, problem: Problem, dial: float) -> Tensor:
        """The behaviour at `p = dial` in [0, 1)."""
        p = checks.number("dial", dial, low=0, high=1, open_high=True)
        return p * problem.bandit.optimal_policy + (1 - p) * others(problem)
