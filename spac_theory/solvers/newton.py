"""The Newton step of the interior-point method: one factorisation, several right-hand sides.

The Hessian is a graph Laplacian plus a diagonal per context; `u` and all slacks are eliminated, and
one Cholesky factor of size `d` (or `X` of size `A` for a table) serves both solves of a step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.objective import laplacian
from spac_theory.solvers.cone import ConePoint, Scaling, quadratic_step
from spac_theory.solvers.iterate import Iterate
from spac_theory.solvers.program import Program


@dataclass(frozen=True)
class Change:
    """What a step does to the parameters `(S, p)`, the rewards `(S, X, A)` and the slacks `(S, K, X, A)`.

    `u` is the change of the epigraph, `along` is `w₁ᵀ` of that of the parameters.
    """

    theta: Tensor
    reward: Tensor
    u: Tensor
    s: Tensor
    along: Tensor


@dataclass(frozen=True)
class Predictor:
    """The step towards products of 0. There `dz/z = −1 − ds/s`, so that slacks tell all of it.

    `share (S, K, X, A)` is `ds/s`, `second` minus its products `ds dz`; `reach (S,)` is the longest step, at
    most 1, and `ahead (S,)` the sum of the products there.
    """

    change: Change
    second: Tensor
    reach: Tensor
    ahead: Tensor


class Newton:
    """One factorisation of the reduced Newton system, solved for several right-hand sides.

    `refine` is how often a solution is corrected by what it leaves of its right-hand side. Near a corner
    of ball and range the curvatures of both, 1e15 and more, multiply what rounding leaves of a step.
    """

    def __init__(
        self, program: Program, x: Iterate, gradient: Tensor, edges: Tensor, refine: int = 0
    ) -> None:
        self.program, self.x, self.gradient, self.refine = program, x, gradient, refine
        self.ratio = x.z / x.s
        self.box = self.ratio[:, -2:].sum(1) if program.boxed else None
        if program.rho is not None:
            d = self.ratio[:, 0]
            self.delta = d.sum(-1, keepdim=True)
            self.share = d / self.delta
            # D − ddᵀ/δ is a graph Laplacian too: as one its diagonal is a sum, so nothing cancels.
            edges = torch.addcmul(edges, d.unsqueeze(-1), self.share.unsqueeze(-2))
        self.hessian = laplacian(edges)
        self.shift = torch.zeros_like(program.lam)
        if program.balled:
            radius = torch.full_like(program.lam, program.radius)
            y0, s_ball = x.y0.squeeze(1), x.s_ball.squeeze(1)
            self.cone = Scaling(ConePoint(radius, x.theta), s_ball, ConePoint(y0, x.y))
            self.shift = self.cone.shift
        self.factor = program.design.factor(self.hessian, self.shift, self.box)
        if program.balled:
            self.column = self.factor.solve(self.cone.w1)
            self.inner = 1 + self.cone.rank_one * (self.cone.w1 * self.column).sum(-1)

    def _solve(self, rhs: Tensor) -> tuple[Tensor, Tensor]:
        """The step and `w₁ᵀ` of it, refined."""
        step, along = self._once(rhs)
        for _ in range(self.refine):
            more, further = self._once(rhs - self._applied(step, along))
            step, along = step + more, along + further
        return step, along

    def _applied(self, step: Tensor, along: Tensor) -> Tensor:
        """The Newton matrix times a step of which `w₁ᵀ` is known."""
        reward = self.program.design.forward(step)
        curved = (self.hessian @ reward.unsqueeze(-1)).squeeze(-1)
        if self.box is not None:
            curved = curved + self.box * reward
        total = self.program.design.adjoint(curved) + self.shift.unsqueeze(-1) * step
        if self.program.balled:
            total = total + (self.cone.rank_one * along).unsqueeze(-1) * self.cone.w1
        return total

    def _once(self, rhs: Tensor) -> tuple[Tensor, Tensor]:
        """Solve with the rank-one curvature of the cone added (Sherman and Morrison, 1950).

        The second answer is `w₁ᵀ` of the first. It is far smaller than the terms of that sum where the
        ball is active, so it is not summed: rounding there, times the curvature, stopped descents short.
        """
        step = self.factor.solve(rhs)
        if not self.program.balled:
            return step, self.shift
        along = (self.cone.w1 * step).sum(-1) / self.inner
        return step - (self.cone.rank_one * along).unsqueeze(-1) * self.column, along

    def _change(self, row: Tensor, level: Tensor | None, pull: Tensor | None = None) -> Change:
        """The step for a gradient `row` in rewards and `pull` in parameters.

        `level (S, X)` is what the multipliers of the max lack of their sum `ρ`.
        """
        program = self.program
        if level is not None:
            level = level.unsqueeze(-1)
            row = torch.addcmul(row, self.share, level)
        rhs = program.design.adjoint(row)
        theta, along = self._solve(-rhs if pull is None else pull - rhs)
        reward = program.design.forward(theta)
        s = program.signs * reward.unsqueeze(1)
        u = theta[:, :0]
        if level is not None:
            rise = (self.share * reward).sum(-1, keepdim=True) - level / self.delta
            s[:, 0] += rise
            u = rise.squeeze(-1)
        return Change(theta, reward, u, s, along)

    def predictor(self) -> Predictor:
        """The step that leaves nothing of the products, seen to first order."""
        program, x = self.program, self.x
        weight = program.context_weight
        d = self._change(self.gradient, None if weight is None else weight.expand_as(x.u))
        products = x.s * x.z
        share = d.s / x.s
        second = products * torch.addcmul(share, share, share)
        total, lost = products.flatten(1).sum(-1), second.flatten(1).sum(-1)
        reach = torch.ones_like(total)
        if x.layout.groups:
            low, high = share.flatten(1).aminmax(dim=1)
            reach = torch.maximum(-low, 1 + high).clamp_min(1).reciprocal()
        if program.balled:
            radius, pull, size = program.radius, (d.theta * x.y).sum(-1), (d.theta**2).sum(-1)
            total = total + radius * x.y0.squeeze(1) + (x.theta * x.y).sum(-1)
            lost = lost + pull + self.shift * size + self.cone.rank_one * d.along**2
            det, b = x.s_ball.squeeze(1), -(x.theta * d.theta).sum(-1)
            reach = reach.minimum(quadratic_step(-size, b, det))
            # the multiplier, scaled: its step is −1 minus that of (B, θ)
            reach = reach.minimum(quadratic_step(det + 2 * b - size, -det - b, det))
        return Predictor(d, second, reach, total * (1 - reach) - reach**2 * lost)

    def corrector(self, tau: Tensor, ahead: Predictor, share: Tensor | None) -> tuple[Iterate, Tensor]:
        """The step towards `s z = τ` and what it does to rewards.

        It takes the products of the predictor into account, or a `share (S,)` of them.
        """
        program, x = self.program, self.x
        second = ahead.second if share is None else share[:, None, None, None] * ahead.second
        k = (second + tau[:, None, None, None]) / x.s
        row, level, pull = self.gradient, None, None
        if x.layout.groups:
            row = row - (program.signs * k).sum(1)
        if program.context_weight is not None:
            level = program.context_weight - k[:, 0].sum(-1)
        if program.balled:
            k_ball = self.cone.target(tau, ahead.change.theta, ahead.change.along, share)
            pull = x.y + k_ball.tail
        d = self._change(row, level, pull)
        ball: tuple[Tensor, ...] = ()
        if program.balled:
            curve = (self.cone.rank_one * d.along).unsqueeze(-1) * self.cone.w1
            y = k_ball.tail - self.shift.unsqueeze(-1) * d.theta - curve
            y0 = k_ball.head + self.cone.head_change(d.along)
            ball = y, y0.unsqueeze(1), -2 * (x.theta * d.theta).sum(-1, keepdim=True)
        z = torch.addcmul(k - x.z, self.ratio, d.s, value=-1)
        return Iterate.of(x.layout, d.theta, d.u, ball, d.s, z), d.reward
