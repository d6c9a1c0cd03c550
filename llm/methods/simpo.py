"""SimPO: a margin on mean log-probabilities, no reference, Meng et al. (2024), arXiv 2405.14734."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from experiments.common.configuration import AtLeastZero, Positive
from llm.methods import METHODS, Batch, Method, Metrics, Stream, data, reward_metrics
from spac_theory.objective import preference_loss


@METHODS.register("simpo")
@dataclass(frozen=True)
class SimPo(Method):
    """`−E_D log σ( β log π(y⁺)/|y⁺| − β log π(y⁻)/|y⁻| − γ )`, `|y|` in tokens.

    Attributes
    ----------
    beta : `β > 0`
    ratio : `γ/β ≥ 0`, the margin asked for in units of `β`
    """

    bandit = ("simpo", {"beta": 2.0, "ratio": 0.8})

    beta: Positive = 2.0
    ratio: AtLeastZero = 0.8

    def streams(self) -> tuple[Stream, ...]:
        """The data's two; no frozen policy is asked."""
        return data()

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """The logistic loss of the margin between means over tokens."""
        chosen, rejected = (
            self.beta * (batch.logp[name] / batch.length[name])[:, 0]
            for name in ("chosen", "rejected")
        )
        loss = preference_loss(chosen - rejected - self.ratio * self.beta)
        return loss, reward_metrics(batch, chosen, rejected)
