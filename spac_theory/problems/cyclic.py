"""Preferences that no reward explains: a general, intransitive game at every context."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from spac_theory.bandit.contextual import ContextualBandit
from spac_theory.bandit.preferences import PreferenceModel
from spac_theory.keys import generator
from spac_theory.options import Options, integer, number
from spac_theory.problems import PROBLEMS, Problem, uniform_profile
from spac_theory.rewards.linear import one_hot_features, tabular_class


@PROBLEMS.register("cyclic")
@dataclass(frozen=True)
class Cyclic(Options):
    """`P(a ≻ b) = σ(merit · (u_a − u_b) + cycle · G_ab)` with `u` normal and `G` skew and normal.

    `cycle = 0` is Bradley–Terry. There is no reward behind such preferences; the one that fits are
    judged by beside exploitability is the Borda score, the chance to beat a uniform response. A policy
    that nothing beats more than half of the time need not have the largest.
    """

    contexts: int = integer(5, "contexts X")
    actions: int = integer(5, "actions A, at least 2", low=2)
    merit: float = number(0.5, "size of the part that a reward explains", low=0)
    cycle: float = number(1.5, "size of the part that none does", low=0)
    seed: int = integer(0, "draws the preferences", low=0)

    def build(self) -> Problem:
        """Draw the preferences."""
        rng = generator("problem", "cyclic", self.seed)
        shape = (self.contexts, self.actions)
        merit = torch.as_tensor(rng.normal(0, 1, shape))
        noise = torch.as_tensor(rng.normal(0, 1, (*shape, self.actions)))
        skew = (noise - noise.transpose(-1, -2)) / 2**0.5
        margin = (
            float(self.merit) * (merit.unsqueeze(-1) - merit.unsqueeze(-2))
            + float(self.cycle) * skew
        )
        chance = torch.sigmoid(margin)
        size = f"{self.contexts}x{self.actions}"
        bandit = ContextualBandit(
            rho=torch.full((self.contexts,), 1 / self.contexts, dtype=torch.float64),
            features=one_hot_features(*shape),
            reward=chance.mean(-1),
            name=f"cyclic-{size}-{self.merit:g}-{self.cycle:g}-{self.seed}",
        )
        cls = tabular_class(*shape, reward_range=(0.0, 1.0))
        return Problem(bandit, cls, uniform_profile(*shape), preference=PreferenceModel(chance))
