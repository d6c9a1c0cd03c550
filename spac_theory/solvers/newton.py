"""The Newton step of the interior-point method: one factorisation, several right-hand sides.

The Hessian is a graph Laplacian plus a diagonal per context; `u` and all slacks are eliminated, and
one Cholesky factor of size `d` (or `X` of size `A` for a table) serves both solves of a step.
"""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import Tensor

from spac_theory.solvers.cone import ConePoint, Scaling
from spac_theory.solvers.iterate import Iterate
from spac_theory.solvers.program import Program

MULTIPLIER = {"max": "w", "low": "z_low", "high": "z_high"}


class Newton:
    """One factorisation of the reduced Newton system, solved for several right-hand sides.

    `refine` is how often a solution is corrected by what it leaves of its right-hand side. Near a corner
    of ball and range the curvatures of both, 1e15 and more, multiply what rounding leaves of a step.
    """

    def __init__(
        self, program: Program, x: Iterate, gradient: Tensor, hessian: Tensor, refine: int = 0
    ) -> None:
        self.program, self.x, self.gradient, self.refine = program, x, gradient, refine
        box = None
        if program.boxed:
            box = x.z_low / x.s_low + x.z_high / x.s_high
        if program.rho is not None:
            self.d = x.w / x.s_max
            self.delta = self.d.sum(-1)
            # D − ddᵀ/δ as a graph Laplacian: its diagonal is a sum, so nothing cancels.
            edge = self.d.unsqueeze(-1) * (self.d / self.delta.unsqueeze(-1)).unsqueeze(-2)
            edge.diagonal(dim1=-2, dim2=-1).zero_()
            hessian -= edge
            hessian.diagonal(dim1=-2, dim2=-1).add_(edge.sum(-1))
        shift = gradient.new_zeros(len(gradient))
        if program.balled:
            point = ConePoint(torch.full_like(x.y0, program.radius), x.theta)
            self.cone = Scaling(point, x.s_ball, ConePoint(x.y0, x.y))
            shift = self.cone.shift
        self.hessian, self.shift, self.box = hessian, shift, box
        self.factor = program.design.factor(hessian, shift, box)
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
            return step, self.gradient.new_zeros(len(step))
        along = (self.cone.w1 * step).sum(-1) / self.inner
        return step - (self.cone.rank_one * along).unsqueeze(-1) * self.column, along

    def direction(
        self, tau: Tensor, affine: Iterate | None = None, share: Tensor | None = None
    ) -> Iterate:
        """The Newton step towards `s z = τ`, with `share` of the second-order terms of `affine`."""
        program, x = self.program, self.x
        t = tau[:, None, None]

        def target(name: str, level: Tensor) -> Tensor:
            slack, multiplier = f"s_{name}", MULTIPLIER[name]
            if affine is not None and share is not None:
                product = getattr(affine, slack) * getattr(affine, multiplier)
                level = level - share[:, None, None] * product
            return level / getattr(x, slack)

        row = self.gradient
        if program.rho is not None:
            k_w = target("max", t)
            weight = program.context_weight
            assert weight is not None
            missing = weight - k_w.sum(-1)
            row = row + k_w + self.d * (missing / self.delta).unsqueeze(-1)
        if program.boxed:
            k_low = target("low", t)
            k_high = target("high", t)
            row = row + k_high - k_low
        rhs = program.design.adjoint(row)
        if program.balled:
            ds = dy = None
            if affine is not None and share is not None:
                ds = ConePoint(torch.zeros_like(x.y0), share[:, None] * affine.theta)
                dy = ConePoint(affine.y0, affine.y)
            k_ball = self.cone.target(tau, ds, dy)
            rhs = rhs - x.y - k_ball.tail
        d_theta, along = self._solve(-rhs)
        d_reward = program.design.forward(d_theta)
        empty = d_theta.new_zeros(len(d_theta), 0)
        d = Iterate(d_theta, *[empty] * (len(fields(Iterate)) - 1))
        if program.rho is not None:
            d.u = ((self.d * d_reward).sum(-1) - missing) / self.delta
            d.s_max = d.u.unsqueeze(-1) - d_reward
            d.w = k_w - x.w - self.d * d.s_max
        if program.boxed:
            d.s_low, d.s_high = d_reward, -d_reward
            d.z_low = k_low - x.z_low - x.z_low / x.s_low * d_reward
            d.z_high = k_high - x.z_high + x.z_high / x.s_high * d_reward
        if program.balled:
            curve = (self.cone.rank_one * along).unsqueeze(-1) * self.cone.w1
            d.y = k_ball.tail - self.cone.shift[:, None] * d_theta - curve
            d.y0 = k_ball.head + self.cone.head_change(along)
            d.s_ball = -2 * (x.theta * d_theta).sum(-1)
        return d
