"""A batched primal–dual interior-point method for the program of :mod:`spac_theory.solvers.program`.

Newton's method on the perturbed optimality conditions: every inequality `s ≥ 0` has a multiplier
`z ≥ 0` with `s z = τ`, and `τ → 0` along Mehrotra's predictor–corrector rule. The multipliers of
`u_x ≥ r(x,a)` are the policy, so the smoothing of the max and the class bound are one path.
The Hessian is a graph Laplacian plus a diagonal per context; `u` and all slacks are eliminated, and
one Cholesky factor of size `d` (or `X` of size `A` for a table) serves both solves of a step.

Each lane stops on its own certified gap, never on a residual, and no lane sees another.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from spac_theory.solvers.cone import ConePoint, Scaling, longest_step
from spac_theory.solvers.program import Program

STEP_TO_BOUNDARY = 0.995
WARM_LEVEL = 1e-2
CHUNK = 64
HALVINGS = 30
SUFFICIENT = 1e-4
CENTRED = 1e-2  # least share of the dual residual that a careful step keeps as complementarity
CONE_MARGIN = 1e-3
NOISE = 1e-14
MULTIPLIER = {"max": "w", "low": "z_low", "high": "z_high"}


@dataclass
class Iterate:
    """Variables, multipliers and slacks of every lane (unused blocks stay empty, `(S, 0)`).

    Slacks are variables of their own: near the solution they are far smaller than the rounding of
    the difference that defines them.
    """

    theta: Tensor  # (S, p) parameters
    u: Tensor  # (S, X) epigraph of the max
    w: Tensor  # (S, X, A) multipliers of u ≥ r: ρ(x) π(a|x)
    z_low: Tensor  # (S, X, A) multipliers of r ≥ low
    z_high: Tensor  # (S, X, A) multipliers of r ≤ high
    y0: Tensor  # (S,) and
    y: Tensor  # (S, p) multiplier of (B, θ) in the second-order cone
    s_max: Tensor  # (S, X, A) slack u − r
    s_low: Tensor  # (S, X, A) slack r − low
    s_high: Tensor  # (S, X, A) slack high − r
    s_ball: Tensor  # (S,) B² − ‖θ‖²

    def map(self, function: object) -> Iterate:
        """Apply `function` to every tensor."""
        assert callable(function)
        return Iterate(*(function(getattr(self, f.name)) for f in fields(self)))

    def write(self, lanes: Tensor, part: Iterate) -> None:
        """Store the lanes of `part` in place."""
        for f in fields(self):
            getattr(self, f.name)[lanes] = getattr(part, f.name)


@dataclass
class Solution:
    """What the solver returns for every lane.

    `gap` bounds the suboptimality of the pair of reward and policy for the program solved (theory
    (6) for the saddle); `warm` restarts a slightly changed program; `converged` says `gap ≤ tol`.
    """

    theta: Tensor
    reward: Tensor
    policy: Tensor | None
    gap: Tensor
    converged: Tensor
    iterations: Tensor
    warm: Iterate


def _start(program: Program) -> Iterate:
    """A strictly feasible point with equal complementarity products."""
    lanes, contexts, actions = program.linear.shape
    theta = program.start.expand(lanes, -1).clone()
    reward = program.reward(theta)
    empty = reward.new_zeros(lanes, 0)
    gradient, _ = program.smooth_derivatives(reward)
    if program.rho is not None:
        spread = reward.amax(-1) - reward.amin(-1)
        u = reward.amax(-1) + 0.1 * spread + 0.1 * program.certificate_radius / contexts**0.5
        weight = program.context_weight
        assert weight is not None
        w = (weight / actions).expand(lanes, -1).unsqueeze(-1).expand(-1, -1, actions).clone()
    else:
        u, w = empty, empty
    push = gradient.abs().sum((-2, -1)) / (contexts * actions) + 1e-3 / contexts
    z = push[:, None, None].expand(-1, contexts, actions)
    z_low, z_high = (z.clone(), z.clone()) if program.boxed else (empty, empty)
    y = program.design.adjoint(gradient) if program.balled else empty
    y0 = 1.5 * y.norm(dim=-1) + 1e-3 if program.balled else empty
    return Iterate(
        theta,
        u,
        w,
        z_low,
        z_high,
        y0,
        y,
        u.unsqueeze(-1) - reward if program.rho is not None else empty,
        reward - program.low if program.boxed else empty,
        program.high - reward if program.boxed else empty,
        program.radius**2 - (theta**2).sum(-1) if program.balled else empty,
    )


def _complementarity(program: Program, x: Iterate) -> tuple[Tensor, int]:
    """`Σ s z` and the number of constraints of a lane (the cone counts once)."""
    pairs = ((x.s_max, x.w), (x.s_low, x.z_low), (x.s_high, x.z_high))
    total = torch.stack([(s * z).reshape(len(x.theta), -1).sum(-1) for s, z in pairs]).sum(0)
    count = sum(s[0].numel() for s, _ in pairs)
    if program.balled:
        total = total + program.radius * x.y0 + (x.theta * x.y).sum(-1)
        count += 1
    return total, count


class _Newton:
    """One factorisation of the reduced Newton system, solved for several right-hand sides."""

    def __init__(self, program: Program, x: Iterate, gradient: Tensor, hessian: Tensor) -> None:
        self.program, self.x, self.gradient = program, x, gradient
        diagonal = hessian.diagonal(dim1=-2, dim2=-1)
        if program.boxed:
            diagonal.add_(x.z_low / x.s_low + x.z_high / x.s_high)
        if program.rho is not None:
            self.d = x.w / x.s_max
            self.delta = self.d.sum(-1)
            # D − ddᵀ/δ as a graph Laplacian: its diagonal is a sum, so nothing cancels.
            edge = self.d.unsqueeze(-1) * (self.d / self.delta.unsqueeze(-1)).unsqueeze(-2)
            edge.diagonal(dim1=-2, dim2=-1).zero_()
            hessian -= edge
            diagonal.add_(edge.sum(-1))
        shift = gradient.new_zeros(len(gradient))
        if program.balled:
            point = ConePoint(torch.full_like(x.y0, program.radius), x.theta)
            self.cone = Scaling(point, x.s_ball, ConePoint(x.y0, x.y))
            shift = self.cone.shift
        self.factor = program.design.factor(hessian, shift)
        if program.balled:
            column = self.factor.solve(self.cone.w1)
            inner = 1 + self.cone.rank_one * (self.cone.w1 * column).sum(-1)
            self.rank_one = (self.cone.rank_one / inner).unsqueeze(-1) * column

    def _solve(self, rhs: Tensor) -> Tensor:
        """Solve with the rank-one curvature of the cone added (Sherman and Morrison, 1950)."""
        step = self.factor.solve(rhs)
        if self.program.balled:
            step = step - self.rank_one * (self.cone.w1 * step).sum(-1, keepdim=True)
        return step

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
        d_theta = self._solve(-rhs)
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
            w1 = self.cone.w1
            along = self.cone.rank_one * (w1 * d_theta).sum(-1)
            d.y = k_ball.tail - self.cone.shift[:, None] * d_theta - along[:, None] * w1
            d.y0 = k_ball.head + self.cone.head_change(d_theta)
            d.s_ball = -2 * (x.theta * d_theta).sum(-1)
        return d


def _ratio(value: Tensor, step: Tensor) -> Tensor:
    """Largest `α` with `value + α step ≥ 0` on each lane, `value > 0`."""
    limit = torch.where(step < 0, -value / step, torch.inf)
    return limit.flatten(1).amin(-1)


def _longest_step(program: Program, x: Iterate, d: Iterate) -> Tensor:
    """Largest step of a lane that keeps every slack and multiplier non-negative."""
    affine = ("s_max", "w", "s_low", "z_low", "s_high", "z_high")
    limits = [torch.full((len(x.theta),), torch.inf, dtype=x.theta.dtype)]
    for name in affine:
        value = getattr(x, name)
        if value.numel():
            limits.append(_ratio(value, getattr(d, name)))
    if program.balled:
        radius, still = torch.full_like(x.y0, program.radius), torch.zeros_like(x.y0)
        norm = x.y.norm(dim=-1)
        limits.append(longest_step(radius, x.theta, still, d.theta, x.s_ball))
        limits.append(longest_step(x.y0, x.y, d.y0, d.y, (x.y0 - norm) * (x.y0 + norm)))
    return torch.stack(limits).amin(0)


def _move(program: Program, x: Iterate, d: Iterate, alpha: Tensor) -> Iterate:
    """`x + α d`; the slack of the ball takes its exact quadratic change.

    `y₀` enters no equation but its own complementarity, so it may always be raised: it stays off
    the boundary of its cone, where `y₀ − ‖y‖` would be lost to rounding when the ball is inactive.
    """

    def shifted(name: str) -> Tensor:
        ours, step = getattr(x, name), getattr(d, name)
        return ours + alpha.reshape(-1, *[1] * (ours.ndim - 1)) * step

    moved = Iterate(*(shifted(f.name) for f in fields(x)))
    if program.balled:
        moved.s_ball = moved.s_ball - alpha**2 * (d.theta**2).sum(-1)
        total, count = _complementarity(program, moved)
        margin = CONE_MARGIN * total.abs() / (count * program.radius)
        moved.y0 = torch.maximum(moved.y0, moved.y.norm(dim=-1) * (1 + 4e-16) + margin)
    return moved


@dataclass
class _Evaluated:
    """Iterates with what every decision about them needs: rewards, derivatives and the merit."""

    x: Iterate
    reward: Tensor
    gradient: Tensor
    hessian: Tensor
    merit: Tensor

    @staticmethod
    def at(program: Program, x: Iterate) -> _Evaluated:
        """Evaluate the smooth part at `x`."""
        reward = program.reward(x.theta)
        gradient, hessian = program.smooth_derivatives(reward)
        return _Evaluated(x, reward, gradient, hessian, _merit(program, x, gradient))

    def select(self, lanes: Tensor) -> _Evaluated:
        """The lanes alone."""
        parts = (self.reward[lanes], self.gradient[lanes], self.hessian[lanes], self.merit[lanes])
        return _Evaluated(self.x.map(lambda v: v[lanes]), *parts)

    def write(self, lanes: Tensor, part: _Evaluated) -> None:
        """Store the lanes of `part` in place."""
        self.x.write(lanes, part.x)
        for name in ("reward", "gradient", "hessian", "merit"):
            getattr(self, name)[lanes] = getattr(part, name)


def _merit(program: Program, x: Iterate, gradient: Tensor) -> Tensor:
    """`Σ s z` plus the radius times the norm of the dual residual, both in units of value, `(S,)`."""
    total, _ = _complementarity(program, x)
    row = gradient
    if program.rho is not None:
        row = row + x.w
    if program.boxed:
        row = row + x.z_high - x.z_low
    residual = program.design.adjoint(row)
    if program.balled:
        residual = residual - x.y
    return total + program.certificate_radius * residual.norm(dim=-1)


def _direction(program: Program, now: _Evaluated, careful: bool) -> tuple[Iterate, Tensor]:
    """The predictor–corrector direction of every lane (Mehrotra, 1992) and its longest step.

    A careful one weighs the second-order terms by the step they were found at, and keeps products
    from vanishing before the dual residual does: multipliers that die early cannot come back.
    """
    x = now.x
    total, count = _complementarity(program, x)
    newton = _Newton(program, x, now.gradient, now.hessian)
    affine = newton.direction(torch.zeros_like(total))
    alpha = _longest_step(program, x, affine).clamp_max(1)
    ahead, _ = _complementarity(program, _move(program, x, affine, alpha))
    sigma = (ahead / total).clamp(1e-6, 1) ** 3
    if careful:
        residual = (now.merit - total) / total
        sigma = torch.maximum(sigma, (CENTRED * residual).clamp_max(1))
    d = newton.direction(
        sigma * total / count, affine, alpha if careful else torch.ones_like(alpha)
    )
    alpha = (STEP_TO_BOUNDARY * _longest_step(program, x, d)).clamp_max(1)
    alpha = torch.minimum(alpha, program.step_limit(program.design.forward(d.theta)))
    return d, alpha


def _policy(program: Program, x: Iterate) -> Tensor | None:
    """`π = w / Σ w`, uniform where `ρ(x) = 0`."""
    if program.rho is None:
        return None
    policy = x.w / x.w.sum(-1, keepdim=True)
    return torch.where(program.rho[:, None] > 0, policy, 1.0 / policy.shape[-1])


def _certified_gap(program: Program, x: Iterate, reward: Tensor, gradient: Tensor) -> Tensor:
    """The certificate of the current pair, `(S,)`: see :meth:`Program.optimality_gap`.

    For the saddle it is theory (6) bounded from above: `max_π′ G(π′,r) − G(π,r)`, exact, plus the
    bound on `G(π,r) − min_r′ G(π,r′)`.
    """
    policy = _policy(program, x)
    if policy is None:
        return program.optimality_gap(x.theta, reward, gradient, x.z_low, x.z_high)
    assert program.rho is not None
    weight = program.rho[:, None] * policy
    best = reward.max(-1, keepdim=True).values
    leader = (weight * (best - reward)).sum((-2, -1))
    critic = program.optimality_gap(x.theta, reward, gradient + weight, x.z_low, x.z_high)
    return leader + critic


def solve(
    program: Program,
    tolerance: float = 1e-8,
    max_iterations: int = 100,
    warm: Iterate | None = None,
    keep_warm: bool = False,
) -> Solution:
    """Solve every lane to a certified gap of `tolerance · max(1, |L|)`.

    A lane that does not get there in `max_iterations` is returned with the gap it reached and
    `converged = False`. Lanes are worked on `CHUNK` at a time, which keeps them in the cache. With
    `keep_warm` the solution's `warm` is the last iterate far enough from the boundary to restart a
    slightly different program.
    """
    lanes = torch.arange(len(program.linear)).split(CHUNK)
    parts = [
        _solve_chunk(
            program.select(chunk),
            tolerance,
            max_iterations,
            None if warm is None else warm.map(lambda v, c=chunk: v[c]),
            keep_warm,
        )
        for chunk in lanes
    ]
    return parts[0] if len(parts) == 1 else _join(parts)


def _join(parts: list[Solution]) -> Solution:
    """The solutions of all chunks as one."""

    def cat(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in parts])

    warm = Iterate(*(torch.cat([getattr(p.warm, f.name) for p in parts]) for f in fields(Iterate)))
    return Solution(
        cat("theta"),
        cat("reward"),
        None if parts[0].policy is None else cat("policy"),
        cat("gap"),
        cat("converged"),
        cat("iterations"),
        warm,
    )


def _advance(program: Program, now: _Evaluated, careful: bool) -> _Evaluated:
    """One step of every lane; a careful one is shortened where the merit would rise."""
    d, alpha = _direction(program, now, careful)
    ahead = _Evaluated.at(program, _move(program, now.x, d, alpha))
    for _ in range(HALVINGS if careful else 0):
        allowed = (1 - SUFFICIENT * alpha) * now.merit + NOISE * program.lam
        high = ~(ahead.merit <= allowed) & (alpha > 0)
        if not bool(high.any()):
            break
        alpha = torch.where(high, alpha / 2, alpha)
        part = program.select(high)
        x, step = now.x.map(lambda v, m=high: v[m]), d.map(lambda v, m=high: v[m])
        ahead.write(high, _Evaluated.at(part, _move(part, x, step, alpha[high])))
    return ahead


@dataclass
class _Best:
    """The best certified iterate of every lane so far."""

    x: Iterate
    gap: Tensor
    allowed: Tensor
    iterations: Tensor
    saved: Iterate

    @property
    def converged(self) -> Tensor:
        """Whether the gap is within what was asked; a NaN is not."""
        return self.gap <= self.allowed

    def write(self, lanes: Tensor, part: _Best) -> None:
        """Store the lanes of `part` in place."""
        self.x.write(lanes, part.x)
        self.saved.write(lanes, part.saved)
        for name in ("gap", "allowed", "iterations"):
            getattr(self, name)[lanes] = getattr(part, name)


def _solve_chunk(
    program: Program,
    tolerance: float,
    max_iterations: int,
    warm: Iterate | None,
    keep_warm: bool,
) -> Solution:
    """Plain steps first; lanes that these do not solve start afresh with careful ones.

    The smooth part is all that is not linear in the optimality conditions. Where a full Newton step
    leaves the reach of its quadratic model the dual residual can grow while the multipliers die, and
    plain iterates can cycle for ever. Careful steps cannot, but they cost more.
    """
    x = _start(program) if warm is None else warm
    best = _descend(program, x, tolerance, max_iterations, keep_warm, careful=False)
    stuck = ~best.converged
    if bool(stuck.any()) and max_iterations > 0:
        part = program.select(stuck)
        again = _descend(part, _start(part), tolerance, max_iterations, keep_warm, careful=True)
        better = again.gap < best.gap[stuck]
        rows = stuck.nonzero().flatten()[better]
        chosen = _Best(
            again.x.map(lambda v: v[better]),
            again.gap[better],
            again.allowed[better],
            again.iterations[better],
            again.saved.map(lambda v: v[better]),
        )
        best.write(rows, chosen)
    reward = program.reward(best.x.theta)
    policy = _policy(program, best.x)
    found = best.gap, best.converged, best.iterations
    return Solution(best.x.theta, reward, policy, *found, best.saved)


def _descend(
    program: Program,
    x: Iterate,
    tolerance: float,
    max_iterations: int,
    keep_warm: bool,
    careful: bool,
) -> _Best:
    """Step until every lane is certified; what is returned is the best iterate, not the last."""
    lanes = len(program.linear)
    active, part, now = torch.arange(lanes), program, _Evaluated.at(program, x)
    gap, count = torch.full_like(program.lam, torch.inf), torch.zeros(lanes, dtype=torch.int64)
    allowed = program.allowed_gap(now.reward, tolerance)
    best = _Best(x.map(torch.clone), gap, allowed, count, x.map(torch.clone))
    for iteration in range(max_iterations + 1):
        reached = _certified_gap(part, now.x, now.reward, now.gradient)
        better = reached < best.gap[active]
        if bool(better.any()):
            rows = active[better]
            best.gap[rows], best.iterations[rows] = reached[better], iteration
            best.x.write(rows, now.x.map(lambda v, m=better: v[m]))
            best.allowed[rows] = part.select(better).allowed_gap(now.reward[better], tolerance)
        early = reached > WARM_LEVEL / tolerance * best.allowed[active]
        if keep_warm and bool(early.any()):
            best.saved.write(active[early], now.x.map(lambda v, m=early: v[m]))
        going = ~best.converged[active] & torch.isfinite(now.merit)
        if iteration == max_iterations or not bool(going.any()):
            break
        if not bool(going.all()):
            active, part, now = active[going], part.select(going), now.select(going)
        now = _advance(part, now, careful)
    return best
