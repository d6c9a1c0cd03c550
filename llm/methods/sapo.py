"""SAPO, self-augmented preference optimisation, Yin et al. (2024), arXiv 2405.20830."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from experiments.common.configuration import Count, Natural, Positive, Share
from llm.methods import METHODS, Batch, Conditions, Method, Metrics, Stream, sharded_steps
from llm.methods.kinds import Slow
from spac_theory.objective import preference_loss


@METHODS.register("sapo")
@dataclass(frozen=True)
class Sapo(Method):
    """Chosen responses against themselves with a segment rewritten by a slow copy of the policy.

    The data's rejected responses are not read, no label is asked for. A step moves the slow copy, rewrites a
    segment of every chosen response with it, queues the pairs and trains on as many drawn from the queue.
    "dpo": `ℓ(β[lr_o(y⁺) − lr_o(ỹ)])` against the opponent `π_o`, the slow copy of every `refresh` steps.
    "orpo": `−log π(y⁺)/|y⁺| + β ℓ(log-odds of y⁺ − log-odds of ỹ)` with mean log-probs a token, no
    opponent; the release also fits the tokens of the prompt, which are left out here.

    Attributes
    ----------
    beta : `β > 0`
    variant : "dpo" or "orpo"
    decay, refresh, memory, segment, keep, temperature, top_k, top_p : see :class:`llm.methods.kinds.Slow`
    """

    bandit = ("sapo", {"beta": 0.1, "replay": "mean"})

    beta: Positive = 0.1
    variant: Literal["dpo", "orpo"] = "dpo"
    decay: Share = 0.5
    refresh: Count = 108
    memory: Count = 250
    segment: Count = 256
    keep: Natural = 3
    temperature: Positive = 0.7
    top_k: Natural = 50
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95

    def skip(self, conditions: Conditions) -> str | None:
        """Sampling at every step needs the whole model on each process."""
        return sharded_steps(conditions)

    def slow(self) -> Slow:
        """The slow copy, the opponent and the queue."""
        how = (self.segment, self.keep, self.temperature, self.top_k, self.top_p)
        return Slow(self.decay, self.refresh, self.memory, *how)

    def streams(self) -> tuple[Stream, ...]:
        """The data's chosen responses, and the same rewritten."""
        asked = ("opponent",) if self.variant == "dpo" else ()
        chosen = Stream("chosen", 1, "data", anchors=asked)
        return (chosen, Stream("rewritten", 1, "ema", "step", asked))

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """DPO's or ORPO's loss on the queue's pairs."""
        if self.variant == "orpo":
            return self._odds(batch)
        chosen, rewritten = (
            self.beta * batch.ratio(s, "opponent") for s in ("chosen", "rewritten")
        )
        margin = chosen - rewritten
        loss = batch.expect("rewritten", preference_loss(margin.unsqueeze(-1))).mean()
        return loss, {
            "sapo/margins": batch.expect("rewritten", margin).mean(),
            "logps/chosen": batch.logp["chosen"].mean(),
            "logps/rewritten": batch.expect("rewritten", batch.logp["rewritten"]).mean(),
        }

    def _odds(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """ORPO: fit the chosen responses, and raise the odds between the two."""
        mean = {s: batch.logp[s] / batch.length[s] for s in ("chosen", "rewritten")}
        chosen, rewritten = (m - torch.log(-torch.expm1(m)) for m in mean.values())
        odds = batch.expect("rewritten", preference_loss((chosen - rewritten).unsqueeze(-1)))
        likelihood = -mean["chosen"].mean()
        return likelihood + self.beta * odds.mean(), {
            "sapo/nll": likelihood,
            "sapo/log_odds": batch.expect("rewritten", chosen - rewritten).mean(),
        }
