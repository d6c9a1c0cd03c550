"""XPO: online DPO and optimism, Xie et al. (2024), arXiv 2405.21046."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from experiments.common.configuration import AtLeastZero, Positive
from llm.methods import METHODS, Batch, Conditions, Method, Metrics, Stream, sharded_steps
from llm.methods.duels import duel_loss, duel_metrics, margins
from llm.methods.online_dpo import drawn_pair


@METHODS.register("xpo")
@dataclass(frozen=True)
class Xpo(Method):
    """`E ℓ(β[lr_1(y_w) − lr_1(y_l)]) + α E log π(ỹ)`, an own response against `ỹ ~ π_1`, judged.

    The second term pushes mass away from what `π_1` writes. Pairs of earlier steps are not kept.

    Attributes
    ----------
    beta : `β > 0` of DPO
    alpha : weight `α ≥ 0` of optimism
    """

    bandit = ("xpo", {"beta": 0.1, "alpha": 1e-5})

    beta: Positive = 0.1
    alpha: AtLeastZero = 1.0e-5

    def skip(self, conditions: Conditions) -> str | None:
        """Sampling at every step needs the whole model on each process."""
        return sharded_steps(conditions)

    def streams(self) -> tuple[Stream, ...]:
        """An own response and one of `π_1`."""
        return drawn_pair("initial")

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """DPO on the judged pairs and optimism."""
        margin = margins(batch, self.beta, "own", "start")
        wins = batch.wins["own"]
        duels = batch.expect_pairs(duel_loss(margin, wins), "own", "start").mean()
        seen = batch.expect("start", batch.logp["start"]).mean()
        metrics = duel_metrics(batch, "own", margin, wins)
        return duels + self.alpha * seen, metrics | {"xpo/logps_start": seen}
