"""Sim-OPRL, Pace et al. (2024), arXiv 2406.18450: ask what is disputed, then be pessimistic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from experiments.common.configuration import AtLeastZero, Count, Positive
from llm.methods import METHODS, Batch, Metrics, Stream
from llm.methods.kinds import Elicitation, Eliciting
from spac_theory.objective import preference_loss

Several = Annotated[int, Field(ge=2, le=1000)]


@METHODS.register("sim_oprl")
@dataclass(frozen=True)
class SimOprl(Eliciting):
    """Labels are bought for pairs that plausible optima disagree on; the policy follows a lower bound.

    A model's token dynamics are known, so only rewards are in doubt: linear in the start's states, with a
    posterior (:mod:`llm.stages.elicit`). The data's labels are not read. In the end each row's responses of
    `π_1` are ranked by the lower bound of their reward, and the policy is trained on the best and the worst
    ("dpo") or on the best alone ("best").

    Attributes
    ----------
    budget, rounds, members, width, dimension : see :class:`llm.methods.kinds.Elicitation`
    samples : responses of `π_1` a prompt, drawn once
    finish : "dpo" or "best"
    beta : `β > 0` of DPO
    """

    bandit = ("sim_oprl", {"rounds": 10, "members": 6, "width": 1.0})

    budget: Annotated[int, Field(ge=1, le=10**9)] = 500
    rounds: Count = 10
    members: Several = 6
    width: AtLeastZero = 1.0
    dimension: Count = 32
    samples: Several = 8
    finish: Literal["dpo", "best"] = "dpo"
    beta: Positive = 0.3

    def elicitation(self) -> Elicitation:
        """How it asks."""
        return Elicitation(self.budget, self.rounds, self.members, self.width, self.dimension)

    def streams(self) -> tuple[Stream, ...]:
        """Responses of the start, drawn once, with lower bounds of their rewards."""
        return (Stream("own", self.samples, "initial", "once", ("initial",), "elicited"),)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """DPO on the best and the worst of each row, or the likelihood of the best."""
        lower = batch.score["own"]
        ends = torch.stack([lower.argmax(-1), lower.argmin(-1)], -1)
        best, worst = batch.logp["own"].gather(-1, ends).unbind(-1)
        metrics = {"logps/best": best.mean(), "logps/worst": worst.mean()}
        if self.finish == "best":
            return -best.mean(), metrics
        chosen, rejected = (self.beta * batch.ratio("own", "initial")).gather(-1, ends).unbind(-1)
        margin = (chosen - rejected).mean()
        return preference_loss(chosen - rejected), metrics | {"rewards/margins": margin}
