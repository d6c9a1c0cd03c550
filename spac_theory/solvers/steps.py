"""One step of the interior-point method: Mehrotra's predictor–corrector rule, plain or careful.

The smooth part is all that is not linear in the optimality conditions. Where a full Newton step
leaves the reach of its quadratic model the dual residual can grow while the multipliers die, and
plain iterates can cycle for ever. Careful steps cannot, but they cost more.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.solvers.iterate import Iterate, complementarity, longest_step, move, shifted
from spac_theory.solvers.newton import Newton
from spac_theory.solvers.program import Program

STEP_TO_BOUNDARY = 0.995
HALVINGS = 30
SUFFICIENT = 1e-4
CENTRED = 1e-2  # least share of the dual residual that a careful step keeps as complementarity
NOISE = 1e-14
REFINED = 3  # corrections of a careful step


@dataclass
class Evaluated:
    """Iterates with the rewards and the derivatives of the smooth part there."""

    x: Iterate
    reward: Tensor
    gradient: Tensor
    hessian: Tensor

    @staticmethod
    def at(program: Program, x: Iterate) -> Evaluated:
        """Evaluate the smooth part at `x`."""
        reward = program.reward(x.theta)
        return Evaluated(x, reward, *program.smooth_derivatives(reward))

    def select(self, lanes: Tensor) -> Evaluated:
        """The lanes alone."""
        x = self.x.select(lanes)
        return Evaluated(x, self.reward[lanes], self.gradient[lanes], self.hessian[lanes])

    def write(self, lanes: Tensor, part: Evaluated) -> None:
        """Store the lanes of `part` in place."""
        self.x.write(lanes, part.x)
        for name in ("reward", "gradient", "hessian"):
            getattr(self, name)[lanes] = getattr(part, name)


def merit(program: Program, now: Evaluated) -> Tensor:
    """`Σ s z` plus the radius times the norm of the dual residual, both in units of value, `(S,)`."""
    x, row = now.x, now.gradient
    if program.rho is not None:
        row = row + x.w
    if program.boxed:
        row = row + x.z_high - x.z_low
    residual = program.design.adjoint(row)
    if program.balled:
        residual = residual - x.y
    total, _ = complementarity(program, x)
    return total + program.certificate_radius * residual.norm(dim=-1)


def direction(
    program: Program, now: Evaluated, level: Tensor | None = None
) -> tuple[Iterate, Tensor]:
    """The predictor–corrector direction of every lane (Mehrotra, 1992) and its longest step.

    A careful one, for which the merit is given as `level`, weighs the second-order terms by the step
    they were found at, and keeps products from vanishing before the dual residual does: multipliers
    that die early cannot come back.
    """
    x = now.x
    total, count = complementarity(program, x)
    newton = Newton(program, x, now.gradient, now.hessian, 0 if level is None else REFINED)
    affine = newton.direction(torch.zeros_like(total))
    reach = longest_step(program, x, affine).clamp_max(1)
    ahead, _ = complementarity(program, shifted(x, affine, reach))
    sigma = (ahead / total).clamp(1e-6, 1) ** 3
    share = torch.ones_like(reach)
    if level is not None:
        share = reach
        sigma = torch.maximum(sigma, (CENTRED * (level - total) / total).clamp_max(10))
    d = newton.direction(sigma * total / count, affine, share)
    alpha = (STEP_TO_BOUNDARY * longest_step(program, x, d)).clamp_max(1)
    return d, torch.minimum(alpha, program.step_limit(program.design.forward(d.theta)))


def plain_step(program: Program, now: Evaluated) -> Evaluated:
    """The longest step of every lane."""
    d, alpha = direction(program, now)
    return Evaluated.at(program, move(program, now.x, d, alpha))


def careful_step(program: Program, now: Evaluated) -> Evaluated:
    """A step of every lane, shortened until the merit falls."""
    level = merit(program, now)
    d, alpha = direction(program, now, level)
    ahead = Evaluated.at(program, move(program, now.x, d, alpha))
    reached = merit(program, ahead)
    for _ in range(HALVINGS):
        allowed = (1 - SUFFICIENT * alpha) * level + NOISE * program.lam
        high = ~(reached <= allowed) & (alpha > 0)
        if not bool(high.any()):
            break
        alpha = torch.where(high, alpha / 2, alpha)
        part = program.select(high)
        x, step = now.x.select(high), d.select(high)
        again = Evaluated.at(part, move(part, x, step, alpha[high]))
        ahead.write(high, again)
        reached[high] = merit(part, again)
    return ahead
