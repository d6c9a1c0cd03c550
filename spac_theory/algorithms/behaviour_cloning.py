"""Behaviour cloning: imitate the winners; no model of rewards."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.needs import Learner
from spac_theory.view import Contexts, Fit, GeneralPolicy, LearnerView, Oracle


@ALGORITHMS.register("behaviour_cloning")
@dataclass(frozen=True)
class BehaviourCloning(Learner):
    """Imitate the winners: `π(a|x)` is the share of wins of `a` at `x`, `π_ref` where `x` is new."""

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Count."""
        wins = data.wins.sum(-1).to(torch.float64)
        total = wins.sum(-1, keepdim=True)
        policy = torch.where(total > 0, wins / total.clamp_min(1), view.reference)

        def rule(contexts: Contexts) -> Tensor:
            return contexts.reference.expand(len(wins), -1, -1)

        return Fit(GeneralPolicy(policy, rule), "closed form")
