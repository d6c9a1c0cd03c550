"""Actions that are short strings: each place and each pair of neighbours pays."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from spac_theory.keys import generator
from spac_theory.options import Options, integer
from spac_theory.problems import PROBLEMS, Problem, unit_table


@PROBLEMS.register("strings")
@dataclass(frozen=True)
class Strings(Options):
    """Action `a` is a string, its digits in base `symbols`; each place and each neighbour pays."""

    contexts: int = integer(10, "contexts X")
    symbols: int = integer(4, "size of the alphabet, 2 to 16", low=2, high=16)
    length: int = integer(2, "symbols of a string, at most 4; symbols^length actions", high=4)
    seed: int = integer(0, "draws what places and pairs of neighbours pay", low=0)

    def build(self) -> Problem:
        """Draw the payments."""
        rng = generator("problem", "strings", self.seed)
        actions = torch.arange(self.symbols**self.length)
        powers = self.symbols ** torch.arange(self.length).flip(0)
        digits = actions[:, None] // powers % self.symbols
        place = torch.as_tensor(rng.normal(0, 1, (self.contexts, self.length, self.symbols)))
        pair = torch.as_tensor(rng.normal(0, 0.5, (self.contexts, self.symbols, self.symbols)))
        reward = sum(place[:, k, digits[:, k]] for k in range(self.length))
        for k in range(self.length - 1):
            reward = reward + pair[:, digits[:, k], digits[:, k + 1]]
        assert isinstance(reward, torch.Tensor)
        name = f"strings-{self.contexts}x{self.symbols}^{self.length}-{self.seed}"
        return unit_table(reward, name)
