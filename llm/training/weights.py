"""Rows that count more or less than once: a row of weight 2 is the row twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from llm.data.row import Row
from llm.methods import Batch, Metrics

Loss = Callable[[Batch], tuple[Tensor, Metrics]]


def balanced(rows: Sequence[Row]) -> list[Row]:
    """`rows` with weights of mean 1; all 1 where they are equal.

    So the gradient of a step of `B` rows, `(1/B) Σ w_i ∇ℓ_i`, is in the mean over batches the gradient of
    `Σ w_i ℓ_i / Σ w_i`, and the learning rate keeps its meaning.
    """
    weights = [row.row_weight for row in rows]
    if min(weights) == max(weights):
        return [replace(row, row_weight=1.0) for row in rows]
    mean = sum(weights) / len(weights)
    return [replace(row, row_weight=row.row_weight / mean) for row in rows]


def weighted(loss: Loss, batch: Batch, weights: Tensor) -> tuple[Tensor, Metrics]:
    """`(1/B) Σ w_i ℓ_i` and the metrics likewise, from a loss that is a mean over rows.

    `weights (B,)`. The loss is asked row by row, so whatever method wrote it need not know of weights; it
    reads `B` log-probs, which is nothing beside the forward pass that made them.
    """
    found = [loss(batch.row(i)) for i in range(len(weights))]
    mean = weights / len(weights)
    total = torch.stack([value for value, _ in found])
    metrics = {k: mean @ torch.stack([told[k] for _, told in found]).to(mean) for k in found[0][1]}
    return mean.to(total) @ total, metrics
