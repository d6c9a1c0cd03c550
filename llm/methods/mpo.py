"""MPO, magnetic preference optimisation, Wang et al. (2024), arXiv 2410.16714, a round at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor

from experiments.common.configuration import AtLeastZero, Count, Positive
from llm.methods import METHODS, Batch, Method, Metrics, Stream
from llm.methods.sppo import win_rates


@METHODS.register("mpo")
@dataclass(frozen=True)
class Mpo(Method):
    """One step of mirror descent with a magnet a round, as a regression on differences of own responses.

    The step is `π_{t+1} ∝ [π_t exp(η Q) π_mag^{αη}]^{1/(1+αη)}`, `Q(y) = P(y ≻ π_t)`; the loss is the squared
    difference, over pairs, of `(1 + αη) lr_t − η Q̂ − αη log π_mag/π_t`, whose minimum over all policies is
    that step. The paper makes it token by token with a policy gradient; the fixed point is the same. The
    judge may be any, intransitive ones too; it is the last iterate that approaches the equilibrium.

    Attributes
    ----------
    eta : the step `η > 0`
    alpha : pull `α ≥ 0` of the magnet
    refresh : rounds between moves of the magnet to the current policy
    samples : own responses a prompt and round, at least 2
    """

    bandit = ("mpo", {"eta": 0.4, "alpha": 0.1, "iterations": 1})

    eta: Positive = 0.4
    alpha: AtLeastZero = 0.1
    refresh: Count = 2
    samples: Annotated[int, Field(ge=2, le=1000)] = 4

    def streams(self) -> tuple[Stream, ...]:
        """Own responses of the round, compared with each other, under `π_t` and the magnet."""
        return (Stream("own", self.samples, anchors=("current", "magnet"), labels="pairwise"),)

    def anchor(self, name: str, t: int) -> int:
        """The magnet is the iterate of the last round that moved it."""
        if name == "magnet":
            return (t - 1) // self.refresh * self.refresh
        return super().anchor(name, t)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """The spread of what the step would make constant within a row."""
        pull = self.alpha * self.eta
        # Against all of the row, itself included: in a difference of two rates this is unbiased.
        rate = win_rates(batch, "own", apart=False)
        magnet = batch.anchor["magnet"]["own"] - batch.anchor["current"]["own"]
        residual = (1 + pull) * batch.ratio("own", "current") - self.eta * rate - pull * magnet
        loss = batch.spread("own", residual).mean()
        return loss, {
            "mpo/from_magnet": batch.expect("own", -magnet).mean(),
            "logps/own": batch.expect("own", batch.logp["own"]).mean(),
        }
