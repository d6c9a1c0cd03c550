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

from spac_theory.checks import choice, number

SYMBOLS = ("ba", "be", "bi", "bo", "da", "de", "di", "do")
TOPICS = ("sun", "sea", "oak", "fox")
MOODS = ("calm", "glad", "grim")
LENGTH = 3
REWARDS = {"extrapolates": (0.0, 0.5, 1.0, 1.5), "misleads": (0.0, 0.5, 1.0, 0.0)}
FLATTERING = {"calm": (0, 1, 3), "glad": (2, 3, 5), "grim": (4, 5, 7)}  # symbol numbers
RARE = 0.002


@dataclass(frozen=True)
class Language:
    """A language by name; `coverage` is the mass of `μ` on `k = 2`, `RARE` its mass on `k = 3`.

    Shapes: `X` = 12 prompts, `A` = 512 responses. `scale` multiplies all rewards in the
    Bradley–Terry law of the data (it sets how noisy a comparison is), not in reported values.
    """

    name: str = "misleads"
    coverage: float = 0.1
    scale: float = 2.0

    def __post_init__(self) -> None:
        choice("language.name", self.name, REWARDS)
        number("language.coverage", self.coverage, low=0, high=1 - RARE)
        number("language.scale", self.scale, low=0, open_low=True)

    @property
    def prompts(self) -> list[str]:
        """The `X` prompts as text."""
        return [f"{topic} {mood}" for topic in TOPICS for mood in MOODS]

    @cached_property
    def codes(self) -> Tensor:
        """All responses as symbol numbers, `(A, 3)`."""
        return torch.tensor(list(itertools.product(range(len(SYMBOLS)), repeat=LENGTH)))

    @property
    def responses(self) -> list[str]:
        """All responses as text, in the order of `codes`."""
        return [" ".join(SYMBOLS[i] for i in row) for row in self.codes.tolist()]

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

    def sample_pairs(self, n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """`n` index triples `(x, chosen, rejected)`: `x` uniform, two i.i.d. draws from `μ`."""
        g = torch.Generator().manual_seed(seed)
        x = torch.randint(len(self.prompts), (n,), generator=g)
        pair = torch.multinomial(self.behaviour[x], 2, replacement=True, generator=g)
        margin = self.scale * (self.reward[x, pair[:, 0]] - self.reward[x, pair[:, 1]])
        wins = torch.rand(n, generator=g, dtype=torch.float64) < torch.sigmoid(margin)
        chosen = torch.where(wins, pair[:, 0], pair[:, 1])
        return x, chosen, torch.where(wins, pair[:, 1], pair[:, 0])
