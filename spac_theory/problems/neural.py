"""A linear truth seen through a network: the class knows coordinates, not that they act linearly."""

from __future__ import annotations

from dataclasses import dataclass

from spac_theory.options import Options, integer, positive
from spac_theory.problems import PROBLEMS, Problem
from spac_theory.problems.linear import Linear
from spac_theory.rewards.neural import NeuralClass


@PROBLEMS.register("neural")
@dataclass(frozen=True)
class Neural(Options):
    """The `linear` problem with a class of networks on its features.

    Realizable up to what `tanh` units approximate; the class cannot check it.
    """

    contexts: int = integer(10, "contexts X")
    actions: int = integer(5, "actions A, at least 2", low=2)
    dimension: int = integer(3, "dimension d of the features")
    width: int = integer(16, "hidden units")
    depth: int = integer(1, "hidden layers")
    spectral_bound: float = positive(3.0, "bound on the operator norm of every layer")
    output_bound: float = positive(2.0, "rewards lie within plus or minus this")
    starts: int = integer(2, "random starts of every search for a best response")
    steps: int = integer(200, "Adam steps of every search")
    learning_rate: float = positive(0.03, "of Adam")
    seed: int = integer(0, "draws the linear problem", low=0)

    def build(self) -> Problem:
        """The linear problem with its class exchanged."""
        linear = Linear(self.contexts, self.actions, self.dimension, seed=self.seed).build()
        names = ("width", "depth", "spectral_bound", "output_bound", "starts", "steps")
        options = {name: getattr(self, name) for name in (*names, "learning_rate")}
        cls = NeuralClass(linear.bandit.features, **options)
        return Problem(linear.bandit, cls, linear.profile)
