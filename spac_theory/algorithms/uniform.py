"""The uniform policy; no model of anything."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.needs import Learner
from spac_theory.view import Contexts, Fit, GeneralPolicy, LearnerView, Oracle


@ALGORITHMS.register("uniform")
@dataclass(frozen=True)
class Uniform(Learner):
    """Every action with the same probability."""

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Ignore the data."""
        seeds, contexts, actions, _ = data.wins.shape
        policy = torch.full((seeds, contexts, actions), 1 / actions, dtype=torch.float64)

        def rule(contexts: Contexts) -> Tensor:
            return torch.full_like(contexts.reference, 1 / actions).expand(seeds, -1, -1)

        return Fit(GeneralPolicy(policy, rule), "closed form")
