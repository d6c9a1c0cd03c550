"""Random features shared across contexts: what is learned at one context helps at another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from spac_theory import checks
from spac_theory.bandit.contextual import ContextualBandit
from spac_theory.keys import generator
from spac_theory.problems import PROBLEMS, Problem, uniform_profile
from spac_theory.rewards.linear import LinearClass


@PROBLEMS.register("linear")
@dataclass(frozen=True)
class Linear:
    """`r* = φθ*` with features on the unit sphere and `‖θ*‖ = 1`.

    Attributes
    ----------
    contexts, actions, dimension : `X ≥ 1`, `A ≥ 2`, `d ≥ 1`
    norm_bound, reward_range : bounds of the class, either or both; the range must contain 0
    seed : draws features and parameter
    """

    contexts: int = 20
    actions: int = 8
    dimension: int = 6
    norm_bound: float | None = 1.0
    reward_range: tuple[float, float] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        checks.integer("contexts", self.contexts, low=1)
        checks.integer("actions", self.actions, low=2)
        checks.integer("dimension", self.dimension, low=1)
        checks.integer("seed", self.seed, low=0)

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
