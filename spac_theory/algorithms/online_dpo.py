"""DPO with online labels and no optimism."""

from __future__ import annotations

from dataclasses import dataclass, replace

from spac_theory.algorithms import ALGORITHMS
from spac_theory.algorithms.xpo import Xpo
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.view import Fit, LearnerView, Oracle


@ALGORITHMS.register("online_dpo")
@dataclass(frozen=True)
class OnlineDpo(Xpo):
    """XPO without optimism (`α` is 0 whatever is said): pairs `(π_t, π_ref)`, DPO on all data."""

    alpha: float | None = 0.0

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Spend the budget with `α = 0`."""
        return super(OnlineDpo, replace(self, alpha=0.0)).fit(view, data, oracle)
