"""What methods with online labels share: the DPO loss of pairs whose winner is a law, not a fact."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from llm.methods import Batch, Metrics
from spac_theory.objective import preference_loss

Portion = Annotated[float, Field(ge=0, le=1)]


def duel_loss(margin: Tensor, wins: Tensor) -> Tensor:
    """`p ℓ(m) + (1 − p) ℓ(−m)` of each pair, `ℓ = −log σ`; `wins` holds `p`, 0 or 1 where it was drawn."""
    both = torch.stack([margin, -margin], -1)
    return preference_loss(both, torch.stack([wins, 1 - wins], -1))


def margins(batch: Batch, beta: float, first: str, second: str) -> Tensor:
    """`β[lr_1(y) − lr_1(y')]` of all pairs of two streams, `(B, K, K')`."""
    ours, theirs = (beta * batch.ratio(name, "initial") for name in (first, second))
    return ours.unsqueeze(-1) - theirs.unsqueeze(-2)


def duel_metrics(batch: Batch, own: str, margin: Tensor, wins: Tensor) -> Metrics:
    """How often own responses win, whether margins agree with labels, and how far the policy went."""
    agree = ((margin > 0) == (wins > 0.5)) & (wins != 0.5)
    return {
        "online/win_rate": wins.mean(),
        "online/accuracies": agree.to(margin.dtype).mean(),
        "online/kl": batch.expect(own, batch.ratio(own, "initial")).mean(),
        "logps/own": batch.expect(own, batch.logp[own]).mean(),
    }
