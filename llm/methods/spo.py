"""SPO's preference-degree loss, Li et al. (2024), arXiv 2409.17791, beside DPO."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from experiments.common.configuration import AtLeastZero, Positive
from llm.methods import METHODS, Batch, Method, Metrics, Stream, data, reward_metrics
from spac_theory.objective import preference_loss

SIDES = ("chosen", "rejected")


@METHODS.register("spo")
@dataclass(frozen=True)
class Spo(Method):
    """DPO, and a classifier that tells how much key content of a response was taken out.

    Each response of the data is there whole and with `j/levels` of its key phrases deleted, the most telling
    first, for `j = 1 … levels − 1`; a linear head on the policy's state at the end of the response is
    trained, with the policy, to tell `j`. The paper's repository is empty and its text was not read: a
    reconstruction from the abstract and summaries.

    Attributes
    ----------
    beta : `β > 0` of DPO
    gamma : weight `γ ≥ 0` of the cross-entropies of both sides
    levels : how many degrees are told apart, the whole response included
    heads_in_all : 1, or 2 for chosen and rejected apart
    """

    bandit = ("spo", {"beta": 0.3, "gamma": 0.3, "levels": 3})

    beta: Positive = 0.3
    gamma: AtLeastZero = 0.3
    levels: Annotated[int, Field(ge=2, le=20)] = 3
    heads_in_all: Literal[1, 2] = 2

    def _head(self, side: str) -> str:
        return side if self.heads_in_all == 2 else "both"

    def heads(self) -> dict[str, int]:
        """One head a side, or one for both."""
        return {self._head(side): self.levels for side in SIDES} if self.gamma else {}

    def streams(self) -> tuple[Stream, ...]:
        """The data's two, and their edits."""
        if not self.gamma:
            return data("initial")
        whole = [replace(s, head=self._head(s.name)) for s in data("initial")]
        edits = [
            Stream(f"{side}_edits", self.levels - 1, "edit", "once", of=side, head=self._head(side))
            for side in SIDES
        ]
        return (*whole, *edits)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """DPO plus `γ` times the cross-entropy of each side."""
        chosen, rejected = (self.beta * batch.ratio(side, "initial")[:, 0] for side in SIDES)
        loss = preference_loss(chosen - rejected)
        metrics = reward_metrics(batch, chosen, rejected)
        if not self.gamma:
            return loss, metrics
        for side in SIDES:
            told = torch.cat([batch.told[side], batch.told[f"{side}_edits"]], 1)
            degree = torch.arange(self.levels, device=told.device).expand(len(told), -1)
            miss = cross_entropy(told.flatten(0, 1), degree.flatten())
            loss = loss + self.gamma * miss
            right = (told.argmax(-1) == degree).to(told.dtype).mean()
            metrics |= {f"spo/{side}_loss": miss, f"spo/{side}_accuracy": right}
        return loss, metrics
