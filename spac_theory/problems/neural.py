"""A linear truth seen through a network: the class knows coordinates, not that they act linearly."""

from __future__ import annotations

from dataclasses import dataclass

from spac_theory import checks
from spac_theory.problems import PROBLEMS, Problem
from spac_theory.problems.linear import Linear
from spac_theory.rewards.neural import NeuralClass


@PROBLEMS.register("neural")
@dataclass(frozen=True)
class Neural:
    """The `linear` problem with a class of networks on its features.

    Realizable up to what `tanh` units approximate; the class cannot check it.

    Attributes
    ----------
    contexts, actions, dimension, seed : of the linear problem
    width, depth, spectral_bound, output_bound : of the networks
    starts, steps, learning_rate : of the search for a best response
    """

    contexts: int = 10
    actions: int = 5
    dimension: int = 3
    width: int = 16
    depth: int = 1
    spectral_bound: float = 3.0
    output_bound: float = 2.0
    starts: int = 2
    steps: int = 200
    learning_rate: float = 0.03
    seed: int = 0

    def __post_init__(self) -> None:
        Linear(self.contexts, self.actions, self.dimension, seed=self.seed)
        checks.number("spectral_bound", self.spectral_bound, low=0, open_low=True)

    def build(self) -> Problem:
        """The linear problem with its class exchanged."""
        linear = Linear(self.contexts, self.actions, self.dimension, seed=self.seed).build()
        names = ("width", "depth", "spectral_bound", "output_bound", "starts", "steps")
        options = {name: getattr(self, name) for name in (*names, "learning_rate")}
        cls = NeuralClass(linear.bandit.features, **options)
        return Problem(linear.bandit, cls, linear.profile)
