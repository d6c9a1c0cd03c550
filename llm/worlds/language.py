"""Languages with a known reward: twelve prompts, eight symbols, responses of three symbols.

At each prompt three of the eight symbols "flatter" (which ones, its mood decides). The true reward
depends on a response only through the number `k` of flattering symbols in it, and so does the
behaviour policy `μ`, which is uniform among the responses with the same `k`. Two languages share
all of this and differ in one number, the reward at `k = 3`, which the data hardly show:

* `extrapolates`: reward keeps growing with `k`; what a network guesses beyond the data is right;
* `misleads`: reward grows up to `k = 2` and collapses at `k = 3`; the same guess is wrong.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from llm.worlds.world import SYMBOLS, World
from spac_theory.checks import choice, number

LENGTH = 3
REWARDS = {"extrapolates": (0.0, 0.5, 1.0, 1.5), "misleads": (0.0, 0.5, 1.0, 0.0)}
FLATTERING = {"calm": (0, 1, 3), "glad": (2, 3, 5), "grim": (4, 5, 7)}  # symbol numbers
RARE = 0.002


@dataclass(frozen=True)
class Language(World):
    """`coverage` is the mass of `μ` on `k = 2`, `RARE` its mass on `k = 3`; `A` = 512 responses."""

    name: str = "misleads"
    coverage: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        choice("language.name", self.name, REWARDS)
        number("language.coverage", self.coverage, low=0, high=1 - RARE)

    @cached_property
    def codes(self) -> Tensor:
        """All responses as symbol numbers, `(A, 3)`."""
        return torch.tensor(list(itertools.product(range(len(SYMBOLS)), repeat=LENGTH)))

    @cached_property
    def flattering(self) -> Tensor:
        """Which symbols flatter at which prompt, `(X, 8)`."""
        table = torch.zeros(len(self.prompts), len(SYMBOLS), dtype=torch.bool)
        for x, prompt in enumerate(self.prompts):
            table[x, list(FLATTERING[prompt.split()[1]])] = True
        return table

    @cached_property
    def count(self) -> Tensor:
        """`k(x,y)`, the number of flattering symbols, `(X, A)`."""
        return self.flattering[:, self.codes].sum(-1)

    @cached_property
    def reward(self) -> Tensor:
        """`r*(x,y)`, `(X, A)`."""
        return torch.tensor(REWARDS[self.name], dtype=torch.float64)[self.count]

    @cached_property
    def behaviour(self) -> Tensor:
        """`μ(y|x)`, `(X, A)`: the rest of the mass is split evenly between `k = 0` and `k = 1`."""
        rest = (1 - self.coverage - RARE) / 2
        mass = torch.tensor([rest, rest, self.coverage, RARE], dtype=torch.float64)
        size = torch.stack([(self.count == k).sum(-1) for k in range(LENGTH + 1)], -1)
        return (mass / size).gather(-1, self.count)

    @property
    def trap(self) -> Tensor:
        """`k = 3`, `(X, A)`."""
        return self.count == LENGTH
