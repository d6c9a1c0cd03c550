"""The iterate of the interior-point method: where it starts, how far it may go, what its products are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from spac_theory.solvers import cone
from spac_theory.solvers.cone import dot
from spac_theory.solvers.program import Program

CONE_MARGIN = 1e-3
FIRST_SLACK = 0.2  # of u − r, a share of the radius a context
FIRST_ANGLE = 1.1  # y₀ / ‖y‖ of the ball
FLAT_ANGLE = 1.5  # of a critic alone: nearer 1, directions in which the data say nothing are left to rounding


@dataclass(frozen=True)
class Layout:
    """What a lane consists of: `p` parameters, `X × A` rewards, and the constraints it has."""

    parameters: int
    contexts: int
    actions: int
    maximum: bool
    boxed: bool
    balled: bool

    @staticmethod
    def of(program: Program) -> Layout:
        """The layout of the iterates of a program."""
        contexts, actions = program.linear.shape[1:]
        kinds = program.rho is not None, program.boxed, program.balled
        return Layout(program.design.parameters, contexts, actions, *kinds)

    @cached_property
    def groups(self) -> int:
        """`K`: of the inequalities `u ≥ r`, `r ≥ low`, `r ≤ high`, in this order, how many there are."""
        return self.maximum + 2 * self.boxed

    @cached_property
    def constraints(self) -> int:
        """How many constraints a lane has; the cone counts once."""
        return self.groups * self.contexts * self.actions + self.balled

    @cached_property
    def sizes(self) -> list[int]:
        """Numbers of a lane for each field of an iterate, in order."""
        affine = self.groups * self.contexts * self.actions
        ball = [self.parameters, 1, 1] if self.balled else [0, 0, 0]
        return [self.parameters, self.contexts * self.maximum, *ball, affine, affine]


@dataclass
class Iterate:
    """Variables, multipliers and slacks of every lane, one row `flat (S, N)` each.

    The fields are views of it. Slacks are variables of their own: near the solution they are far
    smaller than the rounding of the difference that defines them. Unused fields are empty.
    """

    layout: Layout
    flat: Tensor
    theta: Tensor = field(init=False)  # (S, p) parameters
    u: Tensor = field(init=False)  # (S, X) epigraph of the max
    y: Tensor = field(init=False)  # (S, p) and
    y0: Tensor = field(init=False)  # (S, 1) multiplier of (B, θ) in the second-order cone
    s_ball: Tensor = field(init=False)  # (S, 1) B² − ‖θ‖²
    s: Tensor = field(init=False)  # (S, K, X, A) slacks u − r, r − low, high − r
    z: Tensor = field(init=False)  # (S, K, X, A) their multipliers; the first are ρ(x) π(a|x)

    def __post_init__(self) -> None:
        shape = (-1, self.layout.groups, self.layout.contexts, self.layout.actions)
        *rest, s, z = self.flat.split(self.layout.sizes, 1)
        self.theta, self.u, self.y, self.y0, self.s_ball = rest
        self.s, self.z = s.unflatten(1, shape[1:]), z.unflatten(1, shape[1:])

    @staticmethod
    def of(
        layout: Layout, theta: Tensor, u: Tensor, ball: tuple[Tensor, ...], s: Tensor, z: Tensor
    ) -> Iterate:
        """The iterate with these fields; `ball` holds `y`, `y0` and `s_ball`, or nothing."""
        return Iterate(layout, torch.cat([theta, u, *ball, s.flatten(1), z.flatten(1)], 1))

    @property
    def affine(self) -> Tensor:
        """Slacks and multipliers of the inequalities, `(S, 2 K X A)`."""
        return self.flat[:, -2 * self.layout.sizes[-1] :]

    @property
    def ball(self) -> tuple[Tensor, ...]:
        """`y`, `y0` and `s_ball`, or nothing."""
        return (self.y, self.y0, self.s_ball) if self.layout.balled else ()

    def select(self, lanes: Tensor | slice) -> Iterate:
        """The lanes alone."""
        return Iterate(self.layout, self.flat[lanes])

    def written(self, lanes: Tensor, part: Iterate) -> Iterate:
        """A copy in which the numbered lanes are those of `part`."""
        return Iterate(self.layout, self.flat.index_copy(0, lanes, part.flat))

    def turned(self, back: Tensor) -> Iterate:
        """The same in parameters `back @ θ`."""
        layout = replace(self.layout, parameters=len(back))
        ball = (self.y @ back.T, self.y0, self.s_ball) if layout.balled else ()
        return Iterate.of(layout, self.theta @ back.T, self.u, ball, self.s, self.z)


def start(program: Program) -> Iterate:
    """A strictly feasible point with equal complementarity products."""
    lanes, contexts, actions = program.linear.shape
    theta = program.start.expand(lanes, -1)
    reward = program.reward(theta)
    gradient, _ = program.smooth_derivatives(reward)
    u, slacks, multipliers = reward.new_zeros(lanes, 0), [], []
    if program.rho is not None:
        spread = reward.amax(-1) - reward.amin(-1)
        u = (
            reward.amax(-1)
            + 0.1 * spread
            + FIRST_SLACK * program.certificate_radius / contexts**0.5
        )
        weight = program.context_weight
        assert weight is not None
        slacks.append(u.unsqueeze(-1) - reward)
        multipliers.append((weight / actions).expand_as(reward))
    if program.boxed:
        push = gradient.abs().mean((-2, -1)) + 1e-3 / contexts
        slacks += [reward - program.low, program.high - reward]
        multipliers += [push[:, None, None].expand_as(reward)] * 2
    ball: tuple[Tensor, ...] = ()
    if program.balled:
        y = program.design.adjoint(gradient)
        angle = FLAT_ANGLE if program.rho is None else FIRST_ANGLE
        y0 = angle * y.norm(dim=-1, keepdim=True) + 1e-3
        ball = y, y0, program.radius**2 - (theta**2).sum(-1, keepdim=True)
    nothing = reward.new_zeros(lanes, 0, contexts, actions)
    s, z = (torch.stack(each, 1) if each else nothing for each in (slacks, multipliers))
    return Iterate.of(Layout.of(program), theta, u, ball, s, z)


def complementarity(program: Program, x: Iterate) -> Tensor:
    """`Σ s z` of every lane, `(S, 1)`."""
    total = (x.s * x.z).flatten(1).sum(-1, keepdim=True)
    if program.balled:
        total = total + dot(x.theta, x.y) + program.radius * x.y0
    return total


def longest_step(program: Program, x: Iterate, d: Iterate) -> Tensor:
    """Largest step of a lane that keeps every slack and multiplier non-negative, `(S, 1)`."""
    limits = []
    if x.layout.groups:
        lowest = (d.affine / x.affine).amin(-1, keepdim=True)
        limits.append((-lowest).clamp_min(0).reciprocal())
    if program.balled:
        norm = x.y.norm(dim=-1, keepdim=True)
        limits.append(cone.longest_step(-dot(d.theta, d.theta), d.s_ball / 2, x.s_ball))
        a, b = d.y0**2 - dot(d.y, d.y), x.y0 * d.y0 - dot(x.y, d.y)
        limits.append(cone.longest_step(a, b, (x.y0 - norm) * (x.y0 + norm)))
    return torch.cat(limits, 1).amin(1, keepdim=True)


def move(program: Program, x: Iterate, d: Iterate, alpha: Tensor) -> Iterate:
    """`x + α d`, with the multiplier of the ball kept off the boundary of its cone; `α` is `(S, 1)`.

    The slack of the ball takes its exact quadratic change. `y₀` enters no equation but its own
    complementarity, so it may always be raised. At the boundary `y₀ − ‖y‖` would be lost to rounding,
    which an inactive ball once turned into NaN.
    """
    moved = Iterate(x.layout, torch.addcmul(x.flat, d.flat, alpha))
    if program.balled:
        moved.s_ball -= alpha**2 * dot(d.theta, d.theta)
        margin = CONE_MARGIN / (x.layout.constraints * program.radius)
        norm = moved.y.norm(dim=-1, keepdim=True)
        least = norm * (1 + 4e-16) + margin * complementarity(program, moved).abs()
        torch.maximum(moved.y0, least, out=moved.y0)
    return moved
