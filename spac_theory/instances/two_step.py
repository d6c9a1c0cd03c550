"""Sim-OPRL where its second pessimism acts: two steps with unknown transitions.

Pace et al. (2024), arXiv 2406.18450. The first action leads to one of `m` states, where a second
action ends the episode. Transitions are known from reward-free offline data alone; an expert
compares simulated trajectories, on a budget. One first action is nearly absent from the data and
leads to worthless states: a learner that trusts its model of it pays.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.keys import generator
from spac_theory.links import BRADLEY_TERRY
from spac_theory.objective import preference_loss

Trajectory = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class TwoStepProblem:
    """Returns `r₀(a₀) + r₁(s, a₁)` with `s ~ P(·|a₀)`.

    Attributes
    ----------
    first : (A,) `r₀`; second : (m, A) `r₁`; transition : (A, m) `P`
    behaviour, behaviour_second : (A,) of `a₀` and (m, A) of `a₁` in the data
    """

    first: Tensor
    second: Tensor
    transition: Tensor
    behaviour: Tensor
    behaviour_second: Tensor

    @property
    def optimal_value(self) -> float:
        """The best return."""
        return float((self.first + self.transition @ self.second.max(-1).values).max())

    def value(self, first: Tensor, second: Tensor) -> Tensor:
        """Exact return of deterministic policies `a₀ (S,)`, `a₁ (S, m)`."""
        after = self.second[torch.arange(self.second.shape[0]), second]
        return self.first[first] + (self.transition[first] * after).sum(-1)


def trap_problem(
    states: int = 5, actions: int = 4, rare: float = 0.02, seed: int = 0, coverage: float = 0.25
) -> TwoStepProblem:
    """Good and bad states; the rare first action leads to the bad ones, but the data hardly say so.

    `coverage` is how often the data play the best second action of a state.
    """
    checks.number("coverage", coverage, low=0, high=1)
    checks.integer("states", states, low=2)
    checks.integer("actions", actions, low=2)
    checks.number("rare", rare, low=0, high=1, open_high=True)
    rng = generator("problem", "two-step", seed)
    worth = torch.linspace(0, 1, states, dtype=torch.float64)
    second = 0.5 * worth[:, None] + 0.5 * torch.as_tensor(rng.uniform(0, 1, (states, actions)))
    transition = torch.as_tensor(rng.dirichlet([1.0] * states, actions))
    transition[0] = torch.softmax(-8 * worth, 0)
    first = torch.as_tensor(rng.uniform(0, 0.2, actions))
    first[0] = 0.35
    behaviour = torch.full((actions,), (1 - rare) / (actions - 1), dtype=torch.float64)
    behaviour[0] = rare
    best = torch.nn.functional.one_hot(second.argmax(-1), actions).to(torch.float64)
    behaviour_second = coverage * best + (1 - coverage) * (1 - best) / (actions - 1)
    return TwoStepProblem(first, second, transition, behaviour, behaviour_second)


@dataclass(frozen=True)
class SimOprlRun:
    """Suboptimality `(S,)` of the final policy, and queries spent."""

    suboptimality: Tensor
    queries: int


@dataclass
class _Belief:
    """Laplace posterior of the reward of every data set, from compared trajectories."""

    dimension: int
    rows: list[Tensor] = field(default_factory=list)
    theta: Tensor | None = None

    def add(self, won: Tensor) -> None:
        """`won (S, d)`: features of the winner minus those of the loser."""
        self.rows.append(won)

    def fit(self, lanes: int) -> tuple[Tensor, Tensor]:
        """Posterior mean `(S, d)` and covariance `(S, d, d)` under `N(0, I)`, by Newton."""
        eye = torch.eye(self.dimension, dtype=torch.float64).expand(lanes, -1, -1)
        theta = torch.zeros(lanes, self.dimension, dtype=torch.float64)
        if not self.rows:
            return theta, eye
        theta = theta if self.theta is None else self.theta
        rows = torch.stack(self.rows, 1)
        for _ in range(6):
            slope, bend = BRADLEY_TERRY.loss_derivatives((rows @ theta.unsqueeze(-1)).squeeze(-1))
            gradient = (slope.unsqueeze(-1) * rows).sum(1) + theta
            hessian = rows.transpose(1, 2) @ (bend.unsqueeze(-1) * rows) + eye
            lower = torch.linalg.cholesky(hessian)
            theta = theta - torch.cholesky_solve(gradient.unsqueeze(-1), lower).squeeze(-1)
        self.theta = theta
        return theta, torch.cholesky_inverse(lower)

    def loss(self) -> Tensor:
        """Mean preference loss at the posterior mean, `(S,)`."""
        assert self.theta is not None
        rows = torch.stack(self.rows, 1)
        return preference_loss((rows @ self.theta.unsqueeze(-1)).squeeze(-1))


@dataclass(frozen=True)
class SimOprlTwoStep:
    """The algorithm on a two-step problem.

    Attributes
    ----------
    query : "optimistic" (most disputed pair of plausible optima, simulated) or "uniform" (pairs of
        the buffer)
    members : plausible rewards a query
    transition_pessimism, reward_pessimism : multiples of the uncertainties subtracted
    """

    query: str = "optimistic"
    members: int = 6
    transition_pessimism: float = 1.0
    reward_pessimism: float = 0.3

    def __post_init__(self) -> None:
        checks.choice("query", self.query, ("optimistic", "uniform"))
        checks.integer("members", self.members, low=2)
        checks.number("transition_pessimism", self.transition_pessimism, low=0)
        checks.number("reward_pessimism", self.reward_pessimism, low=0)

    def run(self, problem: TwoStepProblem, seeds: int, offline: int, budget: int) -> SimOprlRun:
        """`seeds` learners, `offline` transitions and at most `budget` comparisons each."""
        checks.integer("offline", offline, low=1)
        checks.integer("budget", budget)
        streams = [generator("two-step", "learner", row) for row in range(seeds)]
        counts = _offline_counts(problem, offline, streams)
        states = problem.second.shape[0]
        model = (counts + 1 / states) / (counts.sum(-1, keepdim=True) + 1)
        doubt = (states / (counts.sum(-1) + 1)).sqrt().clamp_max(2.0)
        belief = _Belief(len(problem.first) + problem.second.numel())
        for _ in range(budget):
            mean, covariance = belief.fit(seeds)
            if self.query == "optimistic":
                pair = self._disputed(problem, mean, covariance, model, doubt, streams)
            else:
                pair = _buffer(problem, streams), _buffer(problem, streams)
            belief.add(_compare(problem, *pair, streams))
        mean, covariance = belief.fit(seeds)
        deviation = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
        lower = mean - self.reward_pessimism * deviation
        first, second = self._plan(problem, lower, model, doubt)
        suboptimality = problem.optimal_value - problem.value(first, second)
        return SimOprlRun(suboptimality, budget)

    def _plan(
        self, problem: TwoStepProblem, theta: Tensor, model: Tensor, doubt: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Best deterministic policy of reward `theta (..., d)` in the pessimistic model."""
        first, second = _split(problem, theta)
        value = (model * second.max(-1).values.unsqueeze(-2)).sum(-1)
        total = first + value - self.transition_pessimism * doubt
        return total.argmax(-1), second.argmax(-1)

    def _disputed(
        self,
        problem: TwoStepProblem,
        mean: Tensor,
        covariance: Tensor,
        model: Tensor,
        doubt: Tensor,
        streams: list[np.random.Generator],
    ) -> tuple[Trajectory, Trajectory]:
        """Roll out, in the model, the two plausible optima whose comparison is least certain."""
        shape = (self.members, mean.shape[-1])
        noise = torch.as_tensor(np.stack([s.normal(size=shape) for s in streams]))
        root = torch.linalg.cholesky(covariance)
        samples = mean.unsqueeze(1) + noise @ root.transpose(-1, -2)
        first, second = self._plan(problem, samples, model.unsqueeze(1), doubt.unsqueeze(1))
        lanes = torch.arange(len(mean))
        expected = _mean_features(problem, first, second, model)  # (S, K, d)
        difference = expected.unsqueeze(2) - expected.unsqueeze(1)
        spread = torch.einsum("sijd,sde,sije->sij", difference, covariance, difference)
        pick = spread.flatten(1).argmax(-1)
        members = pick // self.members, pick % self.members
        rolled = []
        for member in members:
            a0, plan = first[lanes, member], second[lanes, member]
            state = _draw(model[lanes, a0], streams)
            rolled.append((a0, state, plan[lanes, state]))
        return rolled[0], rolled[1]


def _split(problem: TwoStepProblem, theta: Tensor) -> tuple[Tensor, Tensor]:
    actions = len(problem.first)
    return theta[..., :actions], theta[..., actions:].unflatten(-1, problem.second.shape)


def _draw(law: Tensor, streams: list[np.random.Generator]) -> Tensor:
    """One index a lane from `law (S, k)`."""
    draws = torch.tensor([s.uniform() for s in streams], dtype=torch.float64)
    return (draws[:, None] > law.cumsum(-1)[:, :-1]).sum(-1)


def _offline_counts(
    problem: TwoStepProblem, offline: int, streams: list[np.random.Generator]
) -> Tensor:
    law = (problem.behaviour[:, None] * problem.transition).flatten().numpy(force=True)
    rows = [s.multinomial(offline, law / law.sum()) for s in streams]
    return torch.as_tensor(np.stack(rows)).reshape(-1, *problem.transition.shape).to(torch.float64)


def _buffer(problem: TwoStepProblem, streams: list[np.random.Generator]) -> Trajectory:
    """A trajectory of the offline data: behaviour and true transition."""
    a0 = _draw(problem.behaviour.expand(len(streams), -1), streams)
    state = _draw(problem.transition[a0], streams)
    return a0, state, _draw(problem.behaviour_second[state], streams)


def _features(problem: TwoStepProblem, trajectory: Trajectory) -> Tensor:
    """One-hot features `(S, d)` of trajectories."""
    a0, state, a1 = trajectory
    actions = len(problem.first)
    rows = torch.zeros(len(a0), actions + problem.second.numel(), dtype=torch.float64)
    lanes = torch.arange(len(a0))
    rows[lanes, a0] = 1
    rows[lanes, actions + state * problem.second.shape[1] + a1] = 1
    return rows


def _mean_features(problem: TwoStepProblem, first: Tensor, second: Tensor, model: Tensor) -> Tensor:
    """Expected features of policies `a₀ (S, K)`, `a₁ (S, K, m)` in the model, `(S, K, d)`."""
    actions = len(problem.first)
    start = torch.nn.functional.one_hot(first, actions).to(torch.float64)
    reach = start @ model  # (S, K, m)
    ends = torch.nn.functional.one_hot(second, problem.second.shape[1]) * reach.unsqueeze(-1)
    return torch.cat([start, ends.flatten(-2)], -1)


def _compare(
    problem: TwoStepProblem,
    one: Trajectory,
    two: Trajectory,
    streams: list[np.random.Generator],
) -> Tensor:
    """The expert's answer: features of the winner minus those of the loser, `(S, d)`."""
    truth = torch.cat([problem.first, problem.second.flatten()])
    difference = _features(problem, one) - _features(problem, two)
    chance = BRADLEY_TERRY.probability(difference @ truth)
    draws = torch.tensor([s.uniform() for s in streams], dtype=torch.float64)
    return torch.where(draws < chance, 1.0, -1.0)[:, None] * difference
