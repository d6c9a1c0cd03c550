"""The Newton step of the interior-point method: one factorisation, several right-hand sides.

The Hessian is a graph Laplacian plus a diagonal per context; `u` and all slacks are eliminated, and
one Cholesky factor of size `d` (or `X` of size `A` for a table) serves both solves of a step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.objective import laplacian
from spac_theory.solvers.cone import ConePoint, Scaling, dot, longest_step
from spac_theory.solvers.iterate import Iterate
from spac_theory.solvers.program import Program


@dataclass(frozen=True)
class Change:
    """What a step does to the parameters `(S, p)`, the rewards `(S, X, A)` and the slacks `(S, K, X, A)`.

    `u` is the change of the epigraph, `along (S, 1)` is `w₁ᵀ` of that of the parameters.
    """

    theta: Tensor
    reward: Tensor
    u: Tensor
    s: Tensor
    along: Tensor


@dataclass(frozen=True)
class Predictor:
    """The step towards products of 0. There `dz/z = −1 − ds/s`, so that slacks tell all of it.

    `second (S, K, X, A)` is minus its products `ds dz`, `reach (S, 1)` the longest step, at most 1, and
    `ahead (S, 1)` the sum of the products there.
    """

    change: Change
    second: Tensor
    reach: Tensor
    ahead: Tensor


class Newton:
    """One factorisation of the reduced Newton system, solved for several right-hand sides.

    `refine` is how often a solution is corrected by what it leaves of its right-hand side. Near a corner
    of ball and range the curvatures of both, 1e15 and more, multiply what rounding leaves of a step.
    The edges are used up. `total (S, 1)` is `Σ s z`.
    """

    def __init__(
        self, program: Program, x: Iterate, gradient: Tensor, edges: Tensor, refine: int = 0
    ) -> None:
        self.program, self.x, self.gradient, self.refine = program, x, gradient, refine
        self.products, self.ratio = x.s * x.z, x.z / x.s
        self.total = self.products.flatten(1).sum(-1, keepdim=True)
        self.box = self.ratio[:, -2:].sum(1) if program.boxed else None
        if program.rho is not None:
            d = self.ratio[:, 0]
            self.delta = d.sum(-1, keepdim=True)
            self.share = d / self.delta
            # D − ddᵀ/δ is a graph Laplacian too: as one its diagonal is a sum, so nothing cancels.
            edges.addcmul_(d.unsqueeze(-1), self.share.unsqueeze(-2))
        self.hessian = laplacian(edges)
        self.shift: Tensor | None = None
        if program.balled:
            self.cone = Scaling(program.radius, x.theta, x.s_ball, ConePoint(x.y0, x.y))
            self.shift = self.cone.shift.squeeze(1)
            self.total = self.total + self.cone.product
        self.factor = program.design.factor(self.hessian, self.shift, self.box)
        if program.balled:
            column = self.factor.solve(self.cone.w1)
            self.column = self.cone.rank_one * column
            self.inner = 1 + dot(self.cone.w1, self.column)

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
        total = self.program.design.adjoint(curved)
        if self.program.balled:
            total = total + self.cone.shift * step + self.cone.rank_one * along * self.cone.w1
        return total

    def _once(self, rhs: Tensor) -> tuple[Tensor, Tensor]:
        """Solve with the rank-one curvature of the cone added (Sherman and Morrison, 1950).

        The second answer is `w₁ᵀ` of the first. It is far smaller than the terms of that sum where the
        ball is active, so it is not summed: rounding there, times the curvature, stopped descents short.
        """
        step = self.factor.solve(rhs)
        if not self.program.balled:
            return step, step[:, :0]
        along = dot(self.cone.w1, step) / self.inner
        return torch.addcmul(step, along, self.column, value=-1), along

    def _change(self, row: Tensor, level: Tensor | None, pull: Tensor | None = None) -> Change:
        """The step for a gradient `row` in rewards and `pull` in parameters.

        `level (S or 1, X, 1)` is what the multipliers of the max lack of their sum `ρ`.
        """
        program = self.program
        if level is not None:
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
        d = self._change(self.gradient, self.program.context_weight)
        share = d.s / self.x.s
        second = self.products * torch.addcmul(share, share, share)
        lost = second.flatten(1).sum(-1, keepdim=True)
        reach = torch.ones_like(lost)
        if self.x.layout.groups:
            low, high = share.flatten(1).aminmax(dim=1, keepdim=True)
            reach = torch.maximum(-low, 1 + high).clamp_min(1).reciprocal()
        if self.program.balled:
            limit, more = self._ball_ahead(d)
            reach, lost = reach.minimum(limit), lost + more
        return Predictor(d, second, reach, self.total * (1 - reach) - reach**2 * lost)

    def _ball_ahead(self, d: Change) -> tuple[Tensor, Tensor]:
        """How far the predictor may go for the ball, and minus the product of its changes there.

        The multiplier moves, in the scaled space, by −1 minus what `(B, θ)` moves.
        """
        x, size = self.x, dot(d.theta, d.theta)
        lost = dot(d.theta, x.y) + self.cone.shift * size + self.cone.rank_one * d.along**2
        det, b = x.s_ball, -dot(x.theta, d.theta)
        ahead = longest_step(-size, b, det)
        return ahead.minimum(longest_step(det + 2 * b - size, -det - b, det)), lost

    def corrector(
        self, tau: Tensor, ahead: Predictor, share: Tensor | None
    ) -> tuple[Iterate, Tensor]:
        """The step towards `s z = τ` and what it does to rewards.

        It takes the products of the predictor into account, or a `share (S, 1)` of them.
        """
        program, x = self.program, self.x
        second = ahead.second if share is None else share[:, :, None, None] * ahead.second
        k = (second + tau[:, :, None, None]) / x.s
        row, level = self.gradient, program.context_weight
        if x.layout.groups:
            row = row - (program.signs * k).sum(1)
        if level is not None:
            level = level - k[:, 0].sum(-1, keepdim=True)
        ball: tuple[Tensor, ...] = ()
        if program.balled:
            d, ball = self._ball_corrected(row, level, tau, ahead.change, share)
        else:
            d = self._change(row, level)
        z = torch.addcmul(k - x.z, self.ratio, d.s, value=-1)
        return Iterate.of(x.layout, d.theta, d.u, ball, d.s, z), d.reward

    def _ball_corrected(
        self, row: Tensor, level: Tensor | None, tau: Tensor, ahead: Change, share: Tensor | None
    ) -> tuple[Change, tuple[Tensor, ...]]:
        """The corrected step, and what it does to `y`, `y0` and `s_ball`."""
        x, cone = self.x, self.cone
        k = cone.target(tau, ahead.theta, ahead.along, share)
        d = self._change(row, level, x.y + k.tail)
        y = torch.addcmul(k.tail, cone.shift, d.theta, value=-1)
        y = torch.addcmul(y, cone.rank_one * d.along, cone.w1, value=-1)
        return d, (y, k.head + cone.head_change(d.along), -2 * dot(x.theta, d.theta))
