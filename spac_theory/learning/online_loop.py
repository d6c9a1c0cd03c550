"""The loop of DPO with online labels and optimism that XPO, online VPO and online DPO share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.bandit.online import OnlineAccess
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.dpo_loss import dpo_loss
from spac_theory.learning.needs import FEATURES, KNOWN_CONTEXTS, LABELS, Learner
from spac_theory.learning.optimise import PolicyFit, fit_policy
from spac_theory.options import choice, flag, integer, positive
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


@dataclass(frozen=True)
class OnlineLoop(Learner, ABC):
    """The loop: draw pairs, have them labelled, refit DPO on everything so far."""

    needs = frozenset({FEATURES, LABELS, KNOWN_CONTEXTS})

    beta: float = positive(0.1, "strength β of the implicit KL regulariser")
    rounds: int = integer(8, "the budget is spent in this many equal batches")
    offline: bool = flag(True, "start from the offline data, or from nothing")
    output: str = choice(
        "last", "last policy, or the mixture of all of them (the theorem's)", ("last", "mixture")
    )
    ridge: float = positive(1.0, "tie-break ridge/(2n) ‖β log π/π_ref‖²")

    @abstractmethod
    def second(self, policy: Tensor, reference: Tensor) -> Tensor:
        """The policy of the second response of a pair."""

    @abstractmethod
    def optimism(self, view: LearnerView, drawn: Tensor, total: Tensor) -> Tensor:
        """The law `(S, X, A)` of `y` in `α E[log π(y|x)]`, given the second responses drawn."""

    @abstractmethod
    def weight(self, labels: int, total: Tensor) -> Tensor:
        """`α (S,)` beside a mean over `total` comparisons, when `labels` may be spent in all."""

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Spend the budget."""
        assert oracle is not None
        assert oracle.online is not None
        access = oracle.online
        wins = data.wins if self.offline else torch.zeros_like(data.wins)
        drawn = torch.zeros(wins.shape[:3], dtype=torch.float64)
        labels = int(access.remaining.min())
        found = self._refit(view, wins, drawn, labels, None)
        mixture = torch.zeros_like(drawn)
        for share in batches(access, self.rounds):
            reference = view.reference.expand_as(found.policy)
            pairs = access.pairs(share, found.policy, self.second(found.policy, reference))
            wins = wins + access.label(pairs)
            drawn = drawn + pairs.sum(-2)
            found = self._refit(view, wins, drawn, labels, found)
            mixture += found.policy / self.rounds
        policy = found.policy if self.output == "last" else mixture
        policy = policy / policy.sum(-1, keepdim=True)
        return Fit(
            TabularPolicy(policy),
            "stationarity",
            found.gradient_norm,
            reward=self.beta * found.logits,
            converged=found.converged,
            extra={"spread": found.spread},
        )

    def _refit(
        self,
        view: LearnerView,
        wins: Tensor,
        drawn: Tensor,
        labels: int,
        warm: PolicyFit | None,
    ) -> PolicyFit:
        total = wins.sum((-3, -2, -1)).to(torch.float64).clamp_min(1)
        weight = self.weight(labels, total)[:, None, None]
        optimism = weight * self.optimism(view, drawn, total)

        def loss(logits: Tensor, log_policy: Tensor, wins: Tensor, optimism: Tensor) -> Tensor:
            return dpo_loss(view, logits, wins, self.beta) + (optimism * log_policy).sum(-1)

        fraction = wins.to(torch.float64) / total[:, None, None, None]
        starts = [torch.zeros_like(drawn)] + ([] if warm is None else [warm.logits])
        if not bool(weight.any()):
            starts = starts[-1:]  # without optimism strictly convex: one start finds the minimum
        gamma = self.ridge * self.beta**2 / total
        return fit_policy(view, loss, [fraction, optimism], starts, gamma, 1e-6)


def batches(access: OnlineAccess, rounds: int) -> list[int]:
    """The labels of each round: the budget in `rounds` nearly equal parts."""
    left = int(access.remaining.min())
    return [left * (k + 1) // rounds - left * k // rounds for k in range(rounds)]
