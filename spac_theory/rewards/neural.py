"""A network as critic: `r(x,a) = f_θ(z(x,a))` with a bound on its weights and on its output.

Nothing about a network is exact. The best response is what Adam finds from several starts; its
`gap` is the spread of the values those starts reached, an estimate that is marked as one
(`gap_is_bound = False`) and is no bound.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.keys import generator
from spac_theory.links import Link
from spac_theory.objective import game_value, tabular_preference_loss
from spac_theory.rewards.base import BestResponse


@dataclass(frozen=True)
class NeuralClass:
    """Multi-layer perceptrons with `tanh` units and bounded layers.

    Attributes
    ----------
    points : (X, A, k)
        Coordinates `z(x,a)` of every context and action.
    width, depth : hidden units and hidden layers
    spectral_bound : `s > 0`, on the operator norm of every weight matrix and on every bias vector
    output_bound : `> 0`, rewards are `output_bound · tanh(f_θ / output_bound)`
    starts : how many random initialisations a best response tries
    steps, learning_rate : Adam's; every start runs all steps
    seed : draws the initial weights
    """

    points: Tensor
    width: int = 32
    depth: int = 2
    spectral_bound: float = 3.0
    output_bound: float = 2.0
    starts: int = 3
    steps: int = 400
    learning_rate: float = 0.02
    seed: int = 0

    convex = False
    finite = False
    gap_is_bound = False

    def __post_init__(self) -> None:
        points = checks.as_tensor("points", self.points, (None, None, None))
        object.__setattr__(self, "points", points)
        for name in ("width", "depth", "starts", "steps"):
            checks.integer(name, getattr(self, name), low=1)
        for name in ("spectral_bound", "output_bound", "learning_rate"):
            checks.number(name, getattr(self, name), low=0, open_low=True)

    @property
    def shape(self) -> tuple[int, int]:
        """`(X, A)`."""
        return self.points.shape[0], self.points.shape[1]

    @property
    def lipschitz(self) -> float:
        """Lipschitz constant in the coordinates: `spectral_bound^(depth + 1)`."""
        return self.spectral_bound ** (self.depth + 1)

    @property
    def difference_bound(self) -> float:
        """`R`: twice the output bound, or Lipschitz constant times the spread of the points."""
        spread = float(torch.cdist(self.points, self.points).max())  # within each context
        return min(2 * self.output_bound, self.lipschitz * spread)

    def log_covering(self, radius: float) -> float:
        """A parameter-counting bound `P log(1 + 2 ω Λ / ε)` for `P` weights and biases.

        `ω` bounds the norm of all parameters and `Λ` is a Lipschitz constant of the output in them:
        a change of layer `l` is multiplied by at most `s` in each later layer, and its input has norm
        at most `√width` (after a `tanh`) or that of a point. Crude: all that counting has to offer.
        """
        epsilon = checks.number("radius", radius, low=0, open_low=True)
        s, layers = self.spectral_bound, self.depth + 1
        inputs = [float(self.points.flatten(0, 1).norm(dim=-1).max()) ** 2]
        inputs += [float(self.width)] * self.depth
        slopes = [s ** (2 * (layers - 1 - i)) * (inputs[i] + 1) for i in range(layers)]
        norms = [s**2 * min(shape) for shape in self._shapes()]
        ball, slope = math.sqrt(sum(norms)), math.sqrt(sum(slopes))
        return self.parameters * math.log1p(2 * ball * slope / epsilon)

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(math.prod(shape) for shape in self._shapes())

    def contains(self, reward: Tensor) -> bool:
        """Unknown for a network; problems with this class state realizability themselves."""
        return True

    def _shapes(self) -> list[tuple[int, ...]]:
        sizes = [self.points.shape[-1], *[self.width] * self.depth, 1]
        return [shape for a, b in itertools.pairwise(sizes) for shape in ((a, b), (1, b))]

    def initial(self, lanes: int) -> list[Tensor]:
        """Weights of `lanes` networks, drawn alike for every lane."""
        rng = generator("neural", self.seed)
        weights = []
        for a, b in self._shapes():
            scale = 1 / math.sqrt(a) if a > 1 else 0.1
            draw = torch.as_tensor(rng.standard_normal((self.starts, a, b)) * scale)
            weights.append(draw.repeat(lanes, 1, 1))
        self.project(weights)
        return weights

    def forward(self, weights: list[Tensor], points: Tensor | None = None) -> Tensor:
        """Rewards `(lanes, X, A)` of a batch of networks at `points` (the class's own by default)."""
        z = self.points if points is None else points
        hidden = z.flatten(0, 1).expand(len(weights[0]), -1, -1)
        for layer in range(0, len(weights), 2):
            hidden = torch.baddbmm(weights[layer + 1], hidden, weights[layer])
            if layer + 2 < len(weights):
                hidden = torch.tanh(hidden)
        raw = hidden.squeeze(-1).reshape(len(weights[0]), *z.shape[:2])
        return self.output_bound * torch.tanh(raw / self.output_bound)

    def project(self, weights: list[Tensor]) -> None:
        """Scale every matrix and bias back to the bound, in place."""
        with torch.no_grad():
            for matrix in weights:
                norm = torch.linalg.matrix_norm(matrix, ord=2)
                matrix *= (self.spectral_bound / norm.clamp_min(self.spectral_bound))[:, None, None]

    def best_response(
        self,
        linear: Tensor,
        lam: Tensor,
        win_fraction: Tensor,
        link: Link,
        tolerance: float = 1e-9,
        warm: Any = None,
    ) -> BestResponse:
        """Adam from `starts` initialisations on every data set; the best one answers.

        `gap` is the range of the values the starts ended at: an estimate, no certificate.
        `warm` (the weights of an earlier answer) replaces the random starts.
        """
        repeated = [v.repeat_interleave(self.starts, 0) for v in (linear, lam, win_fraction)]

        def value(reward: Tensor, progress: float = 1.0) -> Tensor:
            loss = tabular_preference_loss(reward, repeated[2], link)
            return game_value((repeated[0] * reward).sum((-2, -1)), loss, repeated[1])

        steps = self.steps if warm is None else max(self.steps // 8, 1)
        weights = self.search(value, repeated[1], steps, warm)
        return self.best_start(weights, value)

    def search(
        self, value: Callable[[Tensor, float], Tensor], lam: Tensor, steps: int, warm: Any = None
    ) -> list[Tensor]:
        """Adam on `value(reward, progress)` of every network; `progress` runs from 0 to 1.

        `lam (S · starts,)` scales the step's objective: `λ` may be large.
        """
        weights = self.initial(len(lam) // self.starts) if warm is None else warm
        weights = [w.clone().requires_grad_(True) for w in weights]
        optimiser = torch.optim.Adam(weights, lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for step in range(steps):
            optimiser.zero_grad()
            (value(self.forward(weights), step / steps) / (1 + lam)).sum().backward()
            optimiser.step()
            schedule.step()
            self.project(weights)
        return [w.detach() for w in weights]

    def best_start(
        self, weights: list[Tensor], value: Callable[[Tensor, float], Tensor]
    ) -> BestResponse:
        """Of the starts of each data set the one with the smallest value."""
        with torch.no_grad():
            reward = self.forward(weights)
            values = value(reward, 1.0).reshape(-1, self.starts)
        best, index = values.min(-1)
        rows = torch.arange(len(best)) * self.starts + index
        spread = values.amax(-1) - best
        return BestResponse(reward[rows], best, spread, weights, [w[rows] for w in weights])

    def reward_at(self, parameters: Any, points: Tensor) -> Tensor:
        """The networks `parameters` at coordinates `points (X′, A, k)`."""
        points = checks.as_tensor("points", points, (None, None, self.points.shape[-1]))
        with torch.no_grad():
            return self.forward(parameters, points)
