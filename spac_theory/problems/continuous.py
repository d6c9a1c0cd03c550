"""Contexts from a Gaussian density, a reward linear in features of context and action."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spac_theory.bandit.contextual import ContextualBandit
from spac_theory.keys import generator
from spac_theory.options import Options, integer, positive
from spac_theory.problems import PROBLEMS, Problem, uniform_profile
from spac_theory.problems.density import ContinuousProblem
from spac_theory.rewards.linear import LinearClass


@PROBLEMS.register("continuous")
@dataclass(frozen=True)
class Continuous(Options):
    """`x ~ N(0, I_k)`, `φ(x,a) = tanh(M_a x + b_a)/√d`, `r* = φ(x,a)·θ*` with `‖θ*‖ = B`."""

    coordinates: int = integer(3, "dimension k of the coordinates")
    actions: int = integer(5, "actions A, at least 2", low=2)
    dimension: int = integer(6, "dimension d of the features")
    norm_bound: float = positive(2.0, "norm B of the true parameter, and bound of the class")
    evaluation: int = integer(4000, "fixed contexts on which policies are judged", low=100)
    seed: int = integer(
        0, "draws the feature map, the parameter and the contexts of evaluation", low=0
    )

    def build(self) -> ContinuousProblem:
        """Draw the map, the parameter and the evaluation contexts."""
        rng = generator("problem", "continuous", self.seed)
        size = f"{self.coordinates}x{self.actions}x{self.dimension}"
        matrices = torch.as_tensor(
            rng.standard_normal((self.actions, self.dimension, self.coordinates))
        )
        offsets = torch.as_tensor(rng.standard_normal((self.actions, self.dimension)))
        theta = torch.as_tensor(rng.standard_normal(self.dimension))
        theta = theta * (self.norm_bound / theta.norm())

        def features(x: Tensor) -> Tensor:
            inner = torch.einsum("adk,xk->xad", matrices, x) + offsets
            scaled: Tensor = torch.tanh(inner) / self.dimension**0.5
            return scaled

        def draw(stream: np.random.Generator, contexts: int) -> Problem:
            x = torch.as_tensor(stream.standard_normal((contexts, self.coordinates)))
            phi = features(x)
            bandit = ContextualBandit(
                rho=torch.full((contexts,), 1 / contexts, dtype=torch.float64),
                features=phi,
                reward=phi @ theta,
                name=f"continuous-{size}-{self.norm_bound:g}-{self.seed}",
            )
            cls = LinearClass(phi, self.norm_bound)
            return Problem(bandit, cls, uniform_profile(contexts, self.actions))

        judged = draw(rng, self.evaluation)
        return ContinuousProblem(
            judged.bandit, judged.reward_class, judged.profile, draw, judged.bandit.features
        )
