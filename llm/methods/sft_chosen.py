"""Supervised fine-tuning on the chosen answers: imitate the winners, no preference and no reference."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from llm.methods import METHODS, Batch, Method, Metrics, Stream


@METHODS.register("sft_chosen")
@dataclass(frozen=True)
class SftChosen(Method):
    """`−E log π(y⁺|x)`, the likelihood of whole chosen answers (behaviour cloning of the bandit)."""

    bandit = ("behaviour_cloning", {})

    def streams(self) -> tuple[Stream, ...]:
        """The chosen answers alone."""
        return (Stream("chosen", 1, "data"),)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """The mean negative log-likelihood of a chosen answer, in nats."""
        chosen = batch.logp["chosen"].mean()
        return -chosen, {"logps/chosen": chosen}
