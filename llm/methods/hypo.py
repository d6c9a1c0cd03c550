"""HyPO, hybrid preference optimisation, Song et al. (2024), arXiv 2406.01462."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from experiments.common.configuration import AtLeastZero, Positive
from llm.methods import METHODS, Batch, Conditions, Method, Metrics, Stream, data, reward_metrics
from spac_theory.objective import preference_loss


@METHODS.register("hypo")
@dataclass(frozen=True)
class HyPo(Method):
    """`L_DPO(β) + λ E_x KL(π ‖ π_1)`, the divergence from own responses drawn at every step.

    Its gradient is the score function's, `E ∇log π(y) (f(y) − b)` with `f = log π/π_1` held fixed and
    `b` the mean of `f` over the other responses to the prompt (leave-one-out); a single response, as in
    the release, has no baseline.

    Attributes
    ----------
    beta : `β > 0` of DPO
    lam : weight `λ ≥ 0` of the divergence
    samples : own responses a prompt and step; the release draws 1
    """

    bandit = ("hypo", {"beta": 0.3, "lam": 0.01, "divergence": "exact"})

    beta: Positive = 0.3
    lam: AtLeastZero = 0.01
    samples: Annotated[int, Field(ge=1, le=1000)] = 2

    def skip(self, conditions: Conditions) -> str | None:
        """Sampling at every step needs the whole model on each process."""
        return (
            "it samples at every step, which sharded weights cannot" if conditions.sharded else None
        )

    def streams(self) -> tuple[Stream, ...]:
        """The data's two, and responses of the weights being trained."""
        own = Stream("own", self.samples, "current", "step", anchors=("initial",))
        return (*data("initial"), own)

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """DPO and the divergence: its estimate as value, the score function's as gradient."""
        chosen, rejected = (
            self.beta * batch.ratio(name, "initial")[:, 0] for name in ("chosen", "rejected")
        )
        f = batch.ratio("own", "initial").detach()
        divergence = batch.expect("own", f).mean()
        score = batch.expect("own", batch.logp["own"] * (f - _others(batch, f))).mean()
        loss = preference_loss(chosen - rejected)
        loss = loss + self.lam * (divergence + score - score.detach())
        return loss, reward_metrics(batch, chosen, rejected) | {"hypo/kl": divergence}


def _others(batch: Batch, f: Tensor) -> Tensor:
    """The mean of `f (B, K)` over the other responses, 0 where there are none.

    Over all of them where they are enumerated.
    """
    if "own" in batch.weight:
        return batch.expect("own", f).unsqueeze(-1)
    if f.shape[-1] == 1:
        return torch.zeros_like(f)
    return (f.sum(-1, keepdim=True) - f) / (f.shape[-1] - 1)
