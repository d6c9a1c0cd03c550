"""RPO: regularised preference optimisation, Liu et al. (2024), arXiv 2405.16436."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from experiments.common.configuration import AtLeastZero, Positive
from llm.methods import METHODS, Batch, Method, Metrics, Stream, data, reward_metrics
from spac_theory.objective import preference_loss


@METHODS.register("rpo")
@dataclass(frozen=True)
class Rpo(Method):
    """`L_DPO(β) − βη E log π(y⁺|x)`, the log-probability summed over tokens (as released).

    Attributes
    ----------
    beta : `β > 0`
    eta : weight `η ≥ 0` of the supervised term
    """

    bandit = ("rpo", {"beta": 0.3, "lam": "fixed", "scale": 200.0})

    beta: Positive = 0.3
    eta: AtLeastZero = 0.005

    def streams(self) -> tuple[Stream, ...]:
        """The data's two, against `π_1`."""
        return data("initial")

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """DPO and likelihood of the chosen answers."""
        chosen, rejected = (
            self.beta * batch.ratio(name, "initial")[:, 0] for name in ("chosen", "rejected")
        )
        supervised = -batch.logp["chosen"].mean()
        loss = preference_loss(chosen - rejected) + self.beta * self.eta * supervised
        return loss, reward_metrics(batch, chosen, rejected) | {"rpo/supervised": supervised}
