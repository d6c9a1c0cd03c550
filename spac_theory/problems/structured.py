"""Problems whose actions have parts: sets of items, and short strings."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from spac_theory import checks
from spac_theory.bandit import ContextualBandit
from spac_theory.keys import generator
from spac_theory.problems import PROBLEMS, Problem, uniform_profile
from spac_theory.rewards.linear import one_hot_features, tabular_class


def _problem(reward: torch.Tensor, name: str) -> Problem:
    """Rewards scaled to [0, 1] at each context, equal contexts, a table as the class."""
    low, high = reward.amin(-1, keepdim=True), reward.amax(-1, keepdim=True)
    contexts, actions = reward.shape
    bandit = ContextualBandit(
        rho=torch.full((contexts,), 1 / contexts, dtype=torch.float64),
        features=one_hot_features(contexts, actions),
        reward=(reward - low) / (high - low),
        name=name,
    )
    cls = tabular_class(contexts, actions, reward_range=(0.0, 1.0))
    return Problem(bandit, cls, uniform_profile(contexts, actions))


@PROBLEMS.register("item_sets")
@dataclass(frozen=True)
class ItemSets:
    """Action `a` is the set of items in its binary digits; the reward adds up over items.

    Attributes
    ----------
    contexts, items : `X ≥ 1`; `2^items` actions
    shared : share of an item's worth that is the same at every context
    seed : draws the worths, of either sign
    """

    contexts: int = 10
    items: int = 4
    shared: float = 0.7
    seed: int = 0

    def __post_init__(self) -> None:
        checks.integer("contexts", self.contexts, low=1)
        checks.integer("items", self.items, low=1, high=8)
        checks.number("shared", self.shared, low=0, high=1)
        checks.integer("seed", self.seed, low=0)

    def build(self) -> Problem:
        """Draw the worths."""
        rng = generator("problem", "item_sets", self.seed)
        worth = self.shared * rng.normal(0.5, 1, self.items)
        worth = worth + (1 - self.shared) * rng.normal(0, 1, (self.contexts, self.items))
        bits = torch.arange(2**self.items)[:, None] >> torch.arange(self.items) & 1
        reward = torch.from_numpy(worth) @ bits.to(torch.float64).T
        size = f"{self.contexts}x{self.items}"
        return _problem(reward, f"item_sets-{size}-{self.shared:g}-{self.seed}")


@PROBLEMS.register("strings")
@dataclass(frozen=True)
class Strings:
    """Action `a` is a string, its digits in base `symbols`; each place and each neighbour pays.

    Attributes
    ----------
    contexts, symbols, length : `X ≥ 1`; `symbols^length` actions
    seed : draws what places and pairs of neighbours pay
    """

    contexts: int = 10
    symbols: int = 4
    length: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        checks.integer("contexts", self.contexts, low=1)
        checks.integer("symbols", self.symbols, low=2, high=16)
        checks.integer("length", self.length, low=1, high=4)
        checks.integer("seed", self.seed, low=0)

    def build(self) -> Problem:
        """Draw the payments."""
        rng = generator("problem", "strings", self.seed)
        actions = torch.arange(self.symbols**self.length)
        powers = self.symbols ** torch.arange(self.length).flip(0)
        digits = actions[:, None] // powers % self.symbols
        place = torch.from_numpy(rng.normal(0, 1, (self.contexts, self.length, self.symbols)))
        pair = torch.from_numpy(rng.normal(0, 0.5, (self.contexts, self.symbols, self.symbols)))
        reward = sum(place[:, k, digits[:, k]] for k in range(self.length))
        for k in range(self.length - 1):
            reward = reward + pair[:, digits[:, k], digits[:, k + 1]]
        assert isinstance(reward, torch.Tensor)
        name = f"strings-{self.contexts}x{self.symbols}^{self.length}-{self.seed}"
        return _problem(reward, name)
