"""One step of the interior-point method: Mehrotra's predictor–corrector rule, plain or careful.

The smooth part is all that is not linear in the optimality conditions. Where a full Newton step
leaves the reach of its quadratic model the dual residual can grow while the multipliers die, and
plain iterates can cycle for ever. Careful steps cannot, but they cost more.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.solvers.iterate import Iterate, complementarity, longest_step, move
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
    edges: Tensor

    @staticmethod
    def at(program: Program, x: Iterate) -> Evaluated:
        """Evaluate the smooth part at `x`."""
        reward = program.reward(x.theta)
        return Evaluated(x, reward, *program.smooth_derivatives(reward))

    def select(self, lanes: Tensor) -> Evaluated:
        """The lanes alone."""
        x = self.x.select(lanes)
        return Evaluated(x, self.reward[lanes], self.gradient[lanes], self.edges[lanes])

    def write(self, lanes: Tensor, part: Evaluated) -> None:
        """Put `part` in the place of the numbered lanes."""
        self.x = self.x.written(lanes, part.x)
        for name in ("reward", "gradient", "edges"):
            getattr(self, name)[lanes] = getattr(part, name)


def merit(program: Program, now: Evaluated) -> Tensor:
    """`Σ s z` plus the radius times the norm of the dual residual, both in units of value, `(S, 1)`."""
    x, row = now.x, now.gradient
    if x.layout.groups:
        row = row - (program.signs * x.z).sum(1)
    residual = program.design.adjoint(row)
    if program.balled:
        residual = residual - x.y
    norm = residual.norm(dim=-1, keepdim=True)
    return complementarity(program, x) + program.certificate_radius * norm


def direction(
    program: Program, now: Evaluated, level: Tensor | None = None
) -> tuple[Iterate, Tensor]:
    """The predictor–corrector direction of every lane (Mehrotra, 1992) and its longest step.

    A careful one, for which the merit is given as `level`, weighs the second-order terms by the step
    they were found at, and keeps products from vanishing before the dual residual does: multipliers
    that die early cannot come back.
    """
    x = now.x
    newton = Newton(program, x, now.gradient, now.edges, 0 if level is None else REFINED)
    affine, total = newton.predictor(), newton.total
    sigma = (affine.ahead / total).clamp(1e-6, 1) ** 3
    share = None
    if level is not None:
        share = affine.reach
        sigma = torch.maximum(sigma, (CENTRED * (level - total) / total).clamp_max(10))
    d, change = newton.corrector(sigma * total / x.layout.constraints, affine, share)
    alpha = STEP_TO_BOUNDARY * longest_step(program, x, d)
    return d, torch.minimum(alpha, program.step_limit(change))


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
        allowed = (1 - SUFFICIENT * alpha) * level + NOISE * program.lam.unsqueeze(1)
        high = (~(reached <= allowed) & (alpha > 0)).nonzero()[:, 0]
        if not len(high):
            break
        alpha[high] /= 2
        part = program.select(high)
        x, step = now.x.select(high), d.select(high)
        again = Evaluated.at(part, move(part, x, step, alpha[high]))
        ahead.write(high, again)
        reached[high] = merit(part, again)
    return ahead
