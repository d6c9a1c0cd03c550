"""Online DPO: pairs of today's policy, labelled as they are drawn (Guo et al., 2024, arXiv 2402.04792)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from experiments.common.configuration import Positive
from llm.methods import METHODS, Batch, Conditions, Method, Metrics, Stream, sharded_steps
from llm.methods.duels import duel_loss, duel_metrics, margins


def drawn_pair(second: str) -> tuple[Stream, ...]:
    """The streams of a labelled pair: two own responses, or an own one against one of `π_1`."""
    if second == "current":
        return (Stream("own", 2, "current", "step", ("initial",), "pairwise"),)
    start = Stream("start", 1, "initial", "step", ("initial",))
    return (start, Stream("own", 1, "current", "step", ("initial",), "pairwise", against="start"))


@METHODS.register("online_dpo")
@dataclass(frozen=True)
class OnlineDpo(Method):
    """`E ℓ(β[lr_1(y_w) − lr_1(y_l)])` on pairs drawn and judged at every step; the data's are not read.

    Attributes
    ----------
    beta : `β > 0` of DPO
    second : who writes the second response, the "current" weights or the "initial" policy `π_1`
    """

    bandit = ("online_dpo", {"beta": 0.1})

    beta: Positive = 0.1
    second: Literal["current", "initial"] = "current"

    def skip(self, conditions: Conditions) -> str | None:
        """Sampling at every step needs the whole model on each process."""
        return sharded_steps(conditions)

    def streams(self) -> tuple[Stream, ...]:
        """The pair of a step."""
        return drawn_pair(self.second)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """DPO on the judged pairs; no gradient goes through who was drawn."""
        second = None if self.second == "current" else "start"
        margin = margins(batch, self.beta, "own", second or "own")
        wins = batch.wins["own"]
        loss = batch.expect_pairs(duel_loss(margin, wins), "own", second).mean()
        return loss, duel_metrics(batch, "own", margin, wins)
