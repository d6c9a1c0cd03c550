"""SPAC with a KL term: `max_π min_{r∈𝓡} L(π, r) + λ E_D(r) − β E_x KL(π ‖ π_ref)`, exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.contextual import tilt
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning import lambda_rules
from spac_theory.learning.baselines import BASELINES, with_baseline
from spac_theory.learning.lambda_rules import lambda_skip
from spac_theory.learning.needs import FEATURES, KNOWN_CONTEXTS, Coefficient, Learner, featured
from spac_theory.learning.optimise import log_reference
from spac_theory.options import choice, number, positive
from spac_theory.solvers.interior_point import Solution, solve
from spac_theory.solvers.program import Program
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy

RULES = ("fixed", "sqrt_n", "oracle")
FIRST_BETA = 0.1
STEP_IN_BETA = 4.0


@dataclass(frozen=True)
class SoftProgram(Program):
    """A critic's program with `E_x β log E_{π_ref} exp(r/β)`, the soft maximum, added.

    Attributes
    ----------
    context : (X,) `ρ`; log_base : (X, A) `log π_ref`; beta : `β > 0`
    """

    context: Tensor | None = None
    log_base: Tensor | None = None
    beta: float = 1.0

    def smooth_value(self, reward: Tensor) -> Tensor:
        """The program's smooth part plus the soft maximum, `(S,)`."""
        assert self.log_base is not None
        assert self.context is not None
        soft = self.beta * torch.logsumexp(self.log_base + reward / self.beta, -1)
        return super().smooth_value(reward) + (self.context * soft).sum(-1)

    def smooth_derivatives(self, reward: Tensor) -> tuple[Tensor, Tensor]:
        """Its gradient is `ρ π`, its Hessian `ρ (diag π − ππᵀ)/β`, with `π ∝ π_ref exp(r/β)`.

        That is the graph Laplacian of the edges `ρ π_a π_b / β`.
        """
        assert self.log_base is not None
        assert self.context is not None
        gradient, edges = super().smooth_derivatives(reward)
        policy = torch.softmax(self.log_base + reward / self.beta, -1)
        weight = self.context[:, None] * policy
        between = weight.unsqueeze(-1) * policy.unsqueeze(-2)
        return gradient + weight, edges + between / self.beta

    def step_limit(self, change: Tensor) -> Tensor:
        """Keep Newton where the soft maximum is near its quadratic model: changes of order `β`."""
        span = (change.amax(-1) - change.amin(-1)).amax(-1, keepdim=True)
        return (STEP_IN_BETA * self.beta / span.clamp_min(1e-300)).clamp_max(1)


def _follow(program: SoftProgram) -> Solution:
    """Solve for a falling sequence of `β`, each from the last: a sharp maximum needs a near start."""
    beta, warm = max(program.beta, FIRST_BETA), None
    while True:
        solution = solve(replace(program, beta=beta), warm=warm, keep_warm=True)
        if beta <= program.beta:
            return solution
        beta, warm = max(program.beta, beta / 2), solution.warm


@ALGORITHMS.register("spac_kl")
@dataclass(frozen=True)
class SpacKl(Learner):
    """The regularised saddle as one smooth convex program; `π ∝ π_ref exp(r/β)` at its minimiser.

    At that pair the gradients of the program and of the critic's problem agree, so the program's
    bound on its own error is the duality gap of the regularised game.
    """

    needs = frozenset({FEATURES, KNOWN_CONTEXTS})
    coefficient = Coefficient.SINGLE

    beta: float = positive(0.1, "strength β of the implicit KL regulariser")
    lam: str = choice("sqrt_n", "rule for λ: sqrt_n, fixed or oracle", RULES)
    scale: float = number(1.0, "multiplies the rule's λ (for fixed it is λ)", low=0)
    baseline: str = choice(
        "view", "baseline ν: view, reference, uniform, chosen or both", BASELINES
    )

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Beside its needs, coverage of `π*` for the oracle rule."""
        return super().skip(view, oracle) or lambda_skip(self.lam, oracle)

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Solve the program of every data set."""
        view = with_baseline(self.baseline, view, data)
        lam = lambda_rules.choose(self.lam, self.scale, view, data, oracle).lam
        cls = featured(view)
        linear = (-view.rho.unsqueeze(-1) * view.baseline).expand(len(lam), -1, -1)
        plain = cls.program(linear, lam, data.fraction, view.link)
        soft = SoftProgram(
            **vars(plain), context=view.rho, log_base=log_reference(view), beta=self.beta
        )
        solution = _follow(soft)
        return Fit(
            TabularPolicy(tilt(view.reference, solution.reward, self.beta)),
            "duality gap",
            solution.gap,
            lam,
            solution.reward,
            solution.converged,
        )
