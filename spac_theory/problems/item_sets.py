"""Actions that are sets of items whose worths add up."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from spac_theory.keys import generator
from spac_theory.options import Options, integer, number
from spac_theory.problems import PROBLEMS, Problem, unit_table


@PROBLEMS.register("item_sets")
@dataclass(frozen=True)
class ItemSets(Options):
    """Action `a` is the set of items in its binary digits; the reward adds up over items."""

    contexts: int = integer(10, "contexts X")
    items: int = integer(4, "items, at most 8; 2^items actions", high=8)
    shared: float = number(
        0.7, "share of an item's worth that is the same at every context", low=0, high=1
    )
    seed: int = integer(0, "draws the worths, of either sign", low=0)

    def build(self) -> Problem:
        """Draw the worths."""
        rng = generator("problem", "item_sets", self.seed)
        worth = self.shared * rng.normal(0.5, 1, self.items)
        worth = worth + (1 - self.shared) * rng.normal(0, 1, (self.contexts, self.items))
        bits = torch.arange(2**self.items)[:, None] >> torch.arange(self.items) & 1
        reward = torch.as_tensor(worth) @ bits.to(torch.float64).T
        size = f"{self.contexts}x{self.items}"
        return unit_table(reward, f"item_sets-{size}-{self.shared:g}-{self.seed}")
