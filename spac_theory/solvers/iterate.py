"""The iterate of the interior-point method: where it starts, how far it may go, what its products are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from spac_theory.solvers import cone
from spac_theory.solvers.program import Program

CONE_MARGIN = 1e-3


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

    def map(self, function: Callable[[Tensor], Tensor]) -> Iterate:
        """Apply `function` to every tensor."""
        return Iterate(*(function(getattr(self, f.name)) for f in fields(self)))

    def select(self, lanes: Tensor) -> Iterate:
        """The lanes alone."""
        return self.map(lambda v: v[lanes])

    def write(self, lanes: Tensor, part: Iterate) -> None:
        """Store the lanes of `part` in place."""
        for f in fields(self):
            getattr(self, f.name)[lanes] = getattr(part, f.name)


def start(program: Program) -> Iterate:
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


def complementarity(program: Program, x: Iterate) -> tuple[Tensor, int]:
    """`Σ s z` and the number of constraints of a lane (the cone counts once)."""
    pairs = ((x.s_max, x.w), (x.s_low, x.z_low), (x.s_high, x.z_high))
    total = torch.stack([(s * z).reshape(len(x.theta), -1).sum(-1) for s, z in pairs]).sum(0)
    count = sum(s[0].numel() for s, _ in pairs)
    if program.balled:
        total = total + program.radius * x.y0 + (x.theta * x.y).sum(-1)
        count += 1
    return total, count


def _ratio(value: Tensor, step: Tensor) -> Tensor:
    """Largest `α` with `value + α step ≥ 0` on each lane, `value > 0`."""
    limit = torch.where(step < 0, -value / step, torch.inf)
    return limit.flatten(1).amin(-1)


def longest_step(program: Program, x: Iterate, d: Iterate) -> Tensor:
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
        limits.append(cone.longest_step(radius, x.theta, still, d.theta, x.s_ball))
        limits.append(cone.longest_step(x.y0, x.y, d.y0, d.y, (x.y0 - norm) * (x.y0 + norm)))
    return torch.stack(limits).amin(0)


def shifted(x: Iterate, d: Iterate, alpha: Tensor) -> Iterate:
    """`x + α d`; the slack of the ball takes its exact quadratic change."""

    def part(name: str) -> Tensor:
        ours, step = getattr(x, name), getattr(d, name)
        return ours + alpha.reshape(-1, *[1] * (ours.ndim - 1)) * step

    moved = Iterate(*(part(f.name) for f in fields(x)))
    if moved.s_ball.numel():
        moved.s_ball = moved.s_ball - alpha**2 * (d.theta**2).sum(-1)
    return moved


def move(program: Program, x: Iterate, d: Iterate, alpha: Tensor) -> Iterate:
    """`x + α d`, with the multiplier of the ball kept off the boundary of its cone.

    `y₀` enters no equation but its own complementarity, so it may always be raised. At the boundary
    `y₀ − ‖y‖` would be lost to rounding, which an inactive ball once turned into NaN.
    """
    moved = shifted(x, d, alpha)
    if program.balled:
        total, count = complementarity(program, moved)
        margin = CONE_MARGIN * total.abs() / (count * program.radius)
        moved.y0 = torch.maximum(moved.y0, moved.y.norm(dim=-1) * (1 + 4e-16) + margin)
    return moved
