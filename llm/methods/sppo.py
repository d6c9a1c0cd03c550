"""SPPO, Wu et al. (2024), arXiv 2405.00675: regress log-ratios on win rates against oneself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from experiments.common.configuration import Positive
from llm.methods import METHODS, Batch, Method, Metrics, Stream


@METHODS.register("sppo")
@dataclass(frozen=True)
class Sppo(Method):
    """`E (lr_t(y) − η[P(y ≻ π_t) − ½])²` with `y ~ π_t`, the win rate estimated by the other samples.

    The released code trains on two of its five samples, those with the best and the worst win rate among all
    five, a response against itself counting ½. `responses="all"` is the paper's expectation: every sample,
    its rate from the others.

    Attributes
    ----------
    eta : the step `η > 0`; released: 1000, for a learning rate of 5e-7
    samples : own responses a prompt and round, at least 2
    responses : "extremes" (as released) or "all"
    """

    bandit = ("sppo", {"eta": 1.0, "update": "squared_loss", "iterations": 1})

    eta: Positive = 1.0
    samples: Annotated[int, Field(ge=2, le=1000)] = 5
    responses: Literal["extremes", "all"] = "extremes"

    def streams(self) -> tuple[Stream, ...]:
        """Own responses of the round, compared with each other."""
        return (Stream("own", self.samples, anchors=("current",), labels="pairwise"),)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """The squared error of the log-ratio."""
        ratio = batch.ratio("own", "current")
        rate = win_rates(batch, "own", apart=self.responses == "all")
        error = (ratio - self.eta * (rate - 0.5)).square()
        if self.responses == "extremes":
            ends = torch.stack([rate.argmax(-1), rate.argmin(-1)], -1)
            loss = error.gather(-1, ends).mean()
        else:
            loss = batch.expect("own", error).mean()
        spread = rate.max(-1).values - rate.min(-1).values
        logp = batch.expect("own", batch.logp["own"])
        return loss, {"sppo/rate_spread": spread.mean(), "logps/own": logp.mean()}


def win_rates(batch: Batch, stream: str, apart: bool) -> Tensor:
    """`P̂(y ≻ π_t)` of each response, `(B, K)`: against all of its row, or `apart` from itself."""
    wins = batch.wins[stream]
    weight = batch.weight.get(stream)
    if weight is not None:
        return (wins * weight.unsqueeze(-2)).sum(-1)
    if not apart:
        return wins.mean(-1)
    itself = wins.diagonal(dim1=-2, dim2=-1)
    return (wins.sum(-1) - itself) / (wins.shape[-1] - 1)
