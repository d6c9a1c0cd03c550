"""Critics of self-play that are right on average: warm starts, a Newton step or two a round.

Hedge's bound grows by the average of what the critics' answers fall short, `(1/T) Σ ε_t`, so no round
needs an exact answer. A follower keeps its last answer with the derivatives there; a round changes
the linear term of its problem alone, `min_r ⟨c, r⟩ + λ E_D(r)`. The gradient says how good the old
answer still is, and only where that is not enough a step is made.

Every gap is certified: `f(r′) ≥ f(r) + ⟨∇f, r′ − r⟩`, minimised over the class in closed form. A step
that the gradient at its end calls uphill is cut back to the zero of the secant, and what `STEPS` steps
do not finish is handed to the class's own best response.

| class | step |
|---|---|
| table with a range | Newton over the box, context by context (Hintermüller, Ito and Kunisch, 2003) |
| table, features or kernel in a ball | Newton with the multiplier of the ball (Moré and Sorensen, 1983) |
| any other | the class's own best response |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from spac_theory.objective import tabular_preference_derivatives
from spac_theory.rewards.linear import LinearClass
from spac_theory.saddle.game import Game
from spac_theory.solvers.design import BlockDesign, Design, cholesky

STEPS = 10  # of one round, before the exact critic takes over
PINNINGS = 8  # solves of one quadratic model, each with bounds pinned where the last crossed them
RIDGE = 1e-10  # of the largest curvature: flat directions get long steps, not infinite ones
SMALLEST = 1e-12
SHRINK = 0.1  # least share of its multiplier that a step leaves


@dataclass(frozen=True)
class Answer:
    """A reward `(S, X, A)` of the class, its parameters, and its certified gap `(S,)`."""

    reward: Tensor
    parameters: object
    gap: Tensor


class Follower(Protocol):
    """A critic that may remember its last answer."""

    def answer(self, policy: Tensor, allowed: Tensor) -> Answer:
        """A member no worse than the best one against `policy` by more than `allowed (S,)`."""
        ...


class ExactFollower:
    """The class's own best response, in every round to the same tolerance."""

    def __init__(self, game: Game, tolerance: float) -> None:
        self.game, self.tolerance = game, tolerance
        self.warm: object = None

    def answer(self, policy: Tensor, allowed: Tensor) -> Answer:
        """The critic (4), certified to `tolerance · max(1, |⟨c, r⟩|)`."""
        found = self.game.best_response(policy, self.tolerance, self.warm)
        self.warm = found.warm
        return Answer(found.reward, found.parameters, found.gap)


@dataclass
class Point:
    """Answers of `P` problems: parameters, rewards, `λ ∇E_D`, `λ ∇²E_D` and the ball's multiplier."""

    theta: Tensor
    reward: Tensor
    gradient: Tensor
    hessian: Tensor
    multiplier: Tensor

    def select(self, rows: Tensor) -> Point:
        """The problems `rows` alone."""
        return Point(*(value[rows] for value in vars(self).values()))

    def write(self, rows: Tensor, part: Point) -> None:
        """Store the problems of `part` in place."""
        for name, value in vars(self).items():
            value[rows] = getattr(part, name)


class InexactFollower(ABC):
    """The loop of a round; `parts` problems a data set: one, or one of each context."""

    def __init__(self, game: Game, cls: LinearClass, design: Design, parts: int) -> None:
        self.game, self.cls, self.design, self.parts = game, cls, design, parts
        weight = game.lam[:, None, None, None] * game.data.fraction
        self.weight = weight.reshape(len(weight) * parts, -1, *weight.shape[2:])
        theta = cls.interior.expand(len(weight), -1).reshape(len(self.weight), -1).clone()
        self.point = self.at(theta, torch.zeros_like(theta[:, 0]), self.weight)

    def at(self, theta: Tensor, multiplier: Tensor, weight: Tensor) -> Point:
        """The point at given parameters, with the derivatives there."""
        reward = self.design.forward(theta)
        found = tabular_preference_derivatives(reward, weight, self.game.link)
        return Point(theta, reward, *found, multiplier)

    @abstractmethod
    def gap(self, point: Point, slope: Tensor) -> Tensor:
        """The certificate of every problem, `(P,)`; `slope` is the gradient of the whole objective."""

    @abstractmethod
    def step(self, point: Point, slope: Tensor) -> tuple[Tensor, Tensor]:
        """Where the quadratic model leads: parameters inside the class, and multipliers."""

    def answer(self, policy: Tensor, allowed: Tensor) -> Answer:
        """Newton steps on the problems that are not within their share of what is allowed."""
        game, point, seeds = self.game, self.point, len(self.game.lam)
        linear = game.rho[:, None] * (policy - game.baseline)
        linear = linear.expand(seeds, -1, -1).reshape(point.reward.shape)
        gap, share = self.gap(point, linear + point.gradient).reshape(seeds, -1), allowed[:, None]
        for _ in range(STEPS):
            far = (gap.sum(-1, keepdim=True) > share) & (gap > share / self.parts)
            rows = far.flatten().nonzero().flatten()
            if not len(rows):
                break
            ahead = self._advance(point.select(rows), linear[rows], self.weight[rows])
            point.write(rows, ahead)
            gap[far] = self.gap(ahead, linear[rows] + ahead.gradient)
        total, reward = gap.sum(-1), point.reward.reshape(seeds, *self.cls.shape)
        found = Answer(reward.clone(), point.theta.reshape(seeds, -1).clone(), total)
        return self._repaired(found, policy, ~(total <= allowed), allowed)

    def _advance(self, point: Point, linear: Tensor, weight: Tensor) -> Point:
        """One step of every problem, cut back where it went too far."""
        start = linear + point.gradient
        ahead = self.at(*self.step(point, start), weight)
        way = ahead.reward - point.reward
        before, after = (start * way).sum((-2, -1)), ((linear + ahead.gradient) * way).sum((-2, -1))
        rows = ((after > -0.1 * before) & (before < 0)).nonzero().flatten()
        if len(rows):
            share = (before / (before - after))[rows, None]
            theta = torch.lerp(point.theta[rows], ahead.theta[rows], share)
            ahead.write(rows, self.at(theta, ahead.multiplier[rows], weight[rows]))
        return ahead

    def _repaired(self, found: Answer, policy: Tensor, far: Tensor, allowed: Tensor) -> Answer:
        """The exact critic on the data sets that are still `far`."""
        if not bool(far.any()):
            return found
        game, lanes = self.game, far.nonzero().flatten()
        linear = (game.rho[:, None] * (policy - game.baseline)).expand_as(found.reward)[lanes]
        tolerance = float(allowed[lanes].min()) / max(1.0, self.cls.difference_bound)
        exact = self.cls.best_response(
            linear, game.lam[lanes], game.data.fraction[lanes], game.link, max(tolerance, 1e-9)
        )
        found.reward[lanes], found.gap[lanes] = exact.reward, exact.gap
        assert isinstance(found.parameters, Tensor)
        found.parameters[lanes] = exact.parameters
        rows = far.repeat_interleave(self.parts).nonzero().flatten()
        theta = exact.parameters.reshape(len(rows), -1)
        self.point.write(rows, self.at(theta, torch.zeros_like(theta[:, 0]), self.weight[rows]))
        return found


class BoxFollower(InexactFollower):
    """Over a table with a range every context is a problem of its own."""

    def __init__(self, game: Game, cls: LinearClass) -> None:
        contexts, actions = cls.shape
        assert cls.reward_range is not None
        self.low, self.high = game.lam.new_tensor(
            cls.reward_range
        )  # where() of two floats is float32
        super().__init__(game, cls, BlockDesign(1, actions), contexts)

    def gap(self, point: Point, slope: Tensor) -> Tensor:
        """`max_r′ ⟨∇f, r − r′⟩` over the box."""
        lowest = torch.where(slope > 0, self.low, self.high)
        return (slope * (point.reward - lowest)).sum((-2, -1))

    def step(self, point: Point, slope: Tensor) -> tuple[Tensor, Tensor]:
        """The primal–dual active set method on the model; its Hessian is an M-matrix, so it descends."""
        reward, slope, hessian = (v.squeeze(1) for v in (point.reward, slope, point.hessian))
        down, up = (reward <= self.low) & (slope > 0), (reward >= self.high) & (slope < 0)
        moved, rows = torch.empty_like(reward), torch.arange(len(reward))
        for _ in range(PINNINGS):
            found = self._pinned(reward, slope, hessian, down, up)
            moved[rows] = found[0]
            left = ((found[1] ^ down) | (found[2] ^ up)).any(-1)
            if not bool(left.any()):
                break
            reward, slope, hessian, rows, down, up = (
                v[left] for v in (reward, slope, hessian, rows, *found[1:])
            )
        return moved.clamp_(self.low, self.high), point.multiplier

    def _pinned(
        self, reward: Tensor, slope: Tensor, hessian: Tensor, down: Tensor, up: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The minimum of the model with some rewards pinned at a bound, and what it says to pin next."""
        pinned = down | up
        pulled = torch.where(down, self.low, self.high) - reward
        change = torch.where(pinned, pulled, 0.0)
        model = slope + torch.bmm(hessian, change.unsqueeze(-1)).squeeze(-1)
        diagonal = hessian.diagonal(dim1=-2, dim2=-1)
        matrix = torch.where(pinned.unsqueeze(-1) | pinned.unsqueeze(-2), 0.0, hessian)
        ridge = RIDGE * diagonal.amax(-1, keepdim=True) + SMALLEST
        matrix.diagonal(dim1=-2, dim2=-1).add_(torch.where(pinned, 1.0, ridge))
        step = cholesky(matrix).solve(torch.where(pinned, 0.0, model))
        model = model - torch.bmm(hessian, step.unsqueeze(-1)).squeeze(-1)
        moved = reward + change - step
        lower = torch.where(pinned, down & (model > 0), moved < self.low)
        upper = torch.where(pinned, up & (model < 0), moved > self.high)
        return moved, lower, upper


class BallFollower(InexactFollower):
    """Over a ball `‖θ‖ ≤ B` the multiplier `γ` of the bound is carried from step to step."""

    def __init__(self, game: Game, cls: LinearClass) -> None:
        self.radius = cls.radius
        super().__init__(game, cls, cls.design, 1)

    def gap(self, point: Point, slope: Tensor) -> Tensor:
        """`max_θ′ ⟨e, θ − θ′⟩ = ⟨e, θ⟩ + B‖e‖` with `e = Mᵀ∇f`."""
        residual = self.design.adjoint(slope)
        return (residual * point.theta).sum(-1) + self.radius * residual.norm(dim=-1)

    def step(self, point: Point, slope: Tensor) -> tuple[Tensor, Tensor]:
        """`(H + γI) θ = Hθ₀ − g` at the old `γ`, and one Newton step on `1/‖θ(γ)‖ = 1/B`."""
        level = point.hessian.diagonal(dim1=-2, dim2=-1).amax((-2, -1))
        first = self.design.adjoint(slope).norm(dim=-1) / self.radius
        gamma = torch.where(point.multiplier > 0, point.multiplier, first)
        gamma = torch.maximum(gamma, RIDGE * level + SMALLEST)
        factor = self.design.factor(point.hessian, gamma)
        curved = (point.hessian @ point.reward.unsqueeze(-1)).squeeze(-1)
        theta = factor.solve(self.design.adjoint(curved - slope))
        across = factor.solve(theta)
        size = theta.norm(dim=-1)
        rate = size**2 / (theta * across).sum(-1).clamp_min(1e-300)
        change = (rate * (size / self.radius - 1)).maximum((SHRINK - 1) * gamma)
        near = change.abs() < gamma / 2
        theta = theta - torch.where(near, change, 0.0)[:, None] * across
        theta = theta * (self.radius / theta.norm(dim=-1).clamp_min(1e-300)).clamp_max(1)[:, None]
        return theta, gamma + change


def follower_of(game: Game, critic: str, tolerance: float) -> Follower:
    """The critic of self-play: "exact", or "inexact" where the class has one.

    `tolerance` is that of exact answers. A class of one's own answers for itself.
    """
    cls = game.reward_class
    known = isinstance(cls, LinearClass) and type(cls).best_response is LinearClass.best_response
    if critic == "inexact" and known:
        assert isinstance(cls, LinearClass)
        if cls.reward_range is None:
            return BallFollower(game, cls)
        if cls.tabular and cls.norm_bound is None:
            return BoxFollower(game, cls)
    return ExactFollower(game, tolerance)
