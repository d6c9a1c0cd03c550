"""Two languages without a trap: 4,096 responses of six symbols, the leaves of a tree.

Nothing here is built so that one guess beyond the data is wrong; rewards are drawn at random, once and for
all, and differ in what generalises from one response to another:

* `chains`: a number for every symbol after every other; what a pair of neighbours is worth holds everywhere;
* `paths`: a number for every edge of the tree; what two responses share is their common beginning.

Both are scaled to `[0, 1]` at each prompt, where mood decides the numbers. Rewards and probabilities are sums
along the paths, computed level by level in one forward pass over the tree.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from llm.worlds.world import MOODS, World
from spac_theory.checks import choice, integer

NAMES = ("chains", "paths")
GOOD = 64  # one response in so many is good
SPREAD = 0.5  # how unevenly the behaviour policy chooses among the children of a node


def along(levels: Sequence[Tensor]) -> Tensor:
    """The sum over every path from the root: level `d` is `(M, b^d)`, children in order `-> (M, b^D)`."""
    total = levels[0]
    for edges in levels[1:]:
        total = total.repeat_interleave(edges.shape[-1] // total.shape[-1], -1) + edges
    return total


@dataclass(frozen=True)
class TreeLanguage(World):
    """`coverage` is the mass of `μ` on the best sixty-fourth, evenly; the rest walks down at random."""

    name: str = "chains"
    coverage: float = 0.1
    branching: int = 4
    length: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        choice("language.name", self.name, NAMES)
        integer("language.branching", self.branching, low=2, high=8)
        integer("language.length", self.length, low=1, high=8)

    @cached_property
    def codes(self) -> Tensor:
        """All responses as symbol numbers, `(A, length)`, in the order of the tree's leaves."""
        return torch.tensor(list(itertools.product(range(self.branching), repeat=self.length)))

    def _noise(self, purpose: str, *shape: int) -> Tensor:
        """Standard normal numbers that never change, `(moods, *shape)`."""
        seed = sum(ord(c) * 257**i for i, c in enumerate(f"{self.name}/{purpose}")) % 2**31
        g = torch.Generator().manual_seed(seed)
        return torch.randn(len(MOODS), *shape, generator=g, dtype=torch.float64)

    @cached_property
    def edges(self) -> list[Tensor]:
        """What every edge is worth before scaling: level `d` is `(moods, b^d)`."""
        b, levels = self.branching, range(1, self.length + 1)
        if self.name == "paths":
            return [self._noise(f"edge {d}", b**d) for d in levels]
        after, first = self._noise("after", b, b).flatten(1), self._noise("first", b)
        return [first, *(after.repeat(1, b ** (d - 2)) for d in levels[1:])]

    def _by_prompt(self, table: Tensor) -> Tensor:
        """`(moods, A) -> (X, A)`: the prompts list the moods for every topic."""
        return table.repeat(len(self.prompts) // len(MOODS), 1)

    @cached_property
    def reward(self) -> Tensor:
        """`r*(x,y)`, `(X, A)`, from 0 to 1 at each prompt."""
        raw = along(self.edges)
        low, high = raw.min(-1, keepdim=True).values, raw.max(-1, keepdim=True).values
        return self._by_prompt((raw - low) / (high - low))

    @cached_property
    def behaviour(self) -> Tensor:
        """`μ(y|x)`, `(X, A)`."""
        b = self.branching
        steps = [
            (SPREAD * self._noise(f"step {d}", b ** (d - 1), b)).log_softmax(-1).flatten(1)
            for d in range(1, self.length + 1)
        ]
        walk = self._by_prompt(along(steps).exp())
        best = self.reward.topk(max(1, walk.shape[-1] // GOOD), -1).indices
        good = torch.zeros_like(walk).scatter(-1, best, 1 / best.shape[-1])
        return (1 - self.coverage) * walk + self.coverage * good
