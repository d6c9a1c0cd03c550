"""Actions that are sets of items whose worths add up."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from spac_theory import checks
from spac_theory.keys import generator
from spac_theory.problems import PROBLEMS, Problem, unit_table


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
        reward = torch.as_tensor(worth) @ bits.to(torch.float64).T
        size = f"{self.contexts}x{self.items}"
        return unit_table(reward, f"item_sets-{size}-{self.shared:g}-{self.seed}")
