"""What every synthetic language is: prompts, responses that can be listed, rewards, who wrote the data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.checks import number

SYMBOLS = ("ba", "be", "bi", "bo", "da", "de", "di", "do")
TOPICS = ("sun", "sea", "oak", "fox")
MOODS = ("calm", "glad", "grim")


@dataclass(frozen=True)
class World(ABC):
    """A language by name, with `X` prompts and `A` responses.

    `coverage` is the mass of the behaviour policy `μ` on good responses. `scale` multiplies all rewards in
    the Bradley–Terry law of the data (it sets how noisy a comparison is), not in reported values.
    """

    name: str
    coverage: float
    scale: float = 2.0

    def __post_init__(self) -> None:
        number("language.coverage", self.coverage, low=0, high=1)
        number("language.scale", self.scale, low=0, open_low=True)

    @property
    def prompts(self) -> list[str]:
        """The `X` = 12 prompts as text, mood after topic."""
        return [f"{topic} {mood}" for topic in TOPICS for mood in MOODS]

    @property
    @abstractmethod
    def codes(self) -> Tensor:
        """All responses as symbol numbers, `(A, length)`."""

    @property
    @abstractmethod
    def reward(self) -> Tensor:
        """`r*(x,y)`, `(X, A)` float64."""

    @property
    @abstractmethod
    def behaviour(self) -> Tensor:
        """`μ(y|x)`, `(X, A)` float64."""

    @property
    def trap(self) -> Tensor | None:
        """Responses that a wrong guess beyond the data would choose, `(X, A)` bool; None: there are none."""
        return None

    @property
    def responses(self) -> list[str]:
        """All responses as text, in the order of `codes`."""
        return [" ".join(SYMBOLS[i] for i in row) for row in self.codes.tolist()]

    def sample_pairs(self, n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """`n` index triples `(x, chosen, rejected)`: `x` uniform, two i.i.d. draws from `μ`."""
        g = torch.Generator().manual_seed(seed)
        x = torch.randint(len(self.prompts), (n,), generator=g)
        pair = torch.multinomial(self.behaviour[x], 2, replacement=True, generator=g)
        margin = self.scale * (self.reward[x, pair[:, 0]] - self.reward[x, pair[:, 1]])
        wins = torch.rand(n, generator=g, dtype=torch.float64) < torch.sigmoid(margin)
        chosen = torch.where(wins, pair[:, 0], pair[:, 1])
        return x, chosen, torch.where(wins, pair[:, 1], pair[:, 0])


def make_world(name: str, coverage: float, scale: float) -> World:
    """The language of this name."""
    from llm.worlds.language import REWARDS, Language
    from llm.worlds.tree import TreeLanguage

    return (Language if name in REWARDS else TreeLanguage)(name, coverage, scale)
