"""Random features shared across contexts: what is learned at one context helps at another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from spac_theory.bandit.contextual import ContextualBandit
from spac_theory.keys import generator
from spac_theory.options import Options, integer, interval, positive
from spac_theory.problems import PROBLEMS, Problem, uniform_profile
from spac_theory.rewards.linear import LinearClass


@PROBLEMS.register("linear")
@dataclass(frozen=True)
class Linear(Options):
    """`r* = φθ*` with features on the unit sphere and `‖θ*‖ = 1`."""

    contexts: int = integer(20, "contexts X")
    actions: int = integer(8, "actions A, at least 2", low=2)
    dimension: int = integer(6, "dimension d of the features")
    norm_bound: float | None = positive(
        1.0, "bound B on the norm of the parameter; null for none", optional=True
    )
    reward_range: tuple[float, float] | None = interval(
        None, "bounds of every reward, with 0 inside; null for none", optional=True
    )
    seed: int = integer(0, "draws features and the true parameter", low=0)

    def build(self) -> Problem:
        """Draw features and the true parameter."""
        rng = generator("problem", "linear", self.seed)
        phi = rng.standard_normal((self.contexts, self.actions, self.dimension))
        phi /= np.linalg.norm(phi, axis=-1, keepdims=True)
        theta = rng.standard_normal(self.dimension)
        theta /= np.linalg.norm(theta)
        features = torch.as_tensor(phi)
        size = f"{self.contexts}x{self.actions}x{self.dimension}"
        bandit = ContextualBandit(
            rho=torch.full((self.contexts,), 1 / self.contexts, dtype=torch.float64),
            features=features,
            reward=features @ torch.as_tensor(theta),
            name=f"linear-{size}-{self.seed}",
        )
        cls = LinearClass(features, self.norm_bound, self.reward_range)
        return Problem(bandit, cls, uniform_profile(self.contexts, self.actions))
