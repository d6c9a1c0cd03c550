"""Trainers: `transformers.Trainer` with the loss of this project and nothing else changed.

Only `compute_loss`, `log` and the loss scaling of unequal micro-batches are overridden. A loss is a
mean over rows; micro-batches are weighted by their rows, so that the layout (batch 8, or 8 batches
of 1 accumulated, the last one shorter) does not change the trajectory.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer

from llm.methods.objective import Objective
from llm.models.logprobs import DEFAULT_CHUNK, sequence_logps, with_logps


class SequenceTrainer(Trainer):
    """A Trainer whose loss is a function of sequence log-probs; subclasses write `row_loss`."""

    def __init__(self, model: nn.Module, *, logp_chunk: int = DEFAULT_CHUNK, **kwargs: Any) -> None:
        super().__init__(model=with_logps(model), **kwargs)
        self.model_accepts_loss_kwargs = False  # a mean over rows, not over tokens
        self.logp_chunk = logp_chunk
        self._sums: dict[str, Tensor] = {}
        self._batches = 0
        self._rows_per_batch = 0.0

    @abstractmethod
    def row_loss(
        self, logps: Tensor, inputs: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean loss over the rows of the batch, and metrics, from the `(sequences,)` log-probs."""
        raise NotImplementedError

    def row_count(self, inputs: dict[str, Tensor]) -> float:
        """How much this micro-batch weighs: the number its loss was divided by."""
        return float(len(inputs["input_ids"]))

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Tensor | int | None]:
        """Prefetch the micro-batches of one step and note their mean size."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        counts = [self.row_count(batch) for batch in batches]
        mean = torch.tensor(sum(counts) / max(len(counts), 1), device=device, dtype=torch.float64)
        self._rows_per_batch = float(self.accelerator.reduce(mean, reduction="mean"))
        return batches, items

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The mean loss of the micro-batch, weighted by its share of the rows of the step."""
        logps = sequence_logps(
            model,
            inputs["input_ids"],
            inputs["attention_mask"],
            inputs["completion_mask"],
            self.logp_chunk,
        )
        loss, metrics = self.row_loss(logps, inputs)
        if model.training:
            self._record(metrics)
            if self._rows_per_batch:
                loss = loss * (self.row_count(inputs) / self._rows_per_batch)
        return (loss, {"logps": logps}) if return_outputs else loss

    def _record(self, metrics: dict[str, Tensor]) -> None:
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.detach().float()
        self._batches += 1

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the means since the last log, averaged over all processes, to every training log."""
        if self._batches and "loss" in logs:
            names = sorted(self._sums)
            stacked = torch.stack([self._sums[n] / self._batches for n in names])
            means = self.accelerator.reduce(stacked, reduction="mean")
            logs = {**logs, **dict(zip(names, means.tolist(), strict=True))}
            self._sums, self._batches = {}, 0
        super().log(logs, start_time)


class SpacTrainer(SequenceTrainer):
    """Three streams (chosen, rejected, self-play) under the practical objective, theory (9), (10).

    Rows carry the reference's log-probs, so one network is in memory.
    """

    def __init__(self, model: nn.Module, *, objective: Objective, **kwargs: Any) -> None:
        super().__init__(model, **kwargs)
        self.objective: Objective = objective

    def row_count(self, inputs: dict[str, Tensor]) -> float:
        """The number of preference pairs."""
        return float(inputs["reference"].shape[1])

    def row_loss(
        self, logps: Tensor, inputs: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The objective on the `(2 + K, B)` table of log-probs."""
        reference = inputs["reference"].to(logps.dtype)
        return self.objective(logps.view_as(reference), reference)


class SftTrainer(SequenceTrainer):
    """Supervised fine-tuning: the negative log-likelihood per response token."""

    def row_count(self, inputs: dict[str, Tensor]) -> float:
        """The number of response tokens."""
        return float(inputs["completion_mask"].sum())

    def row_loss(
        self, logps: Tensor, inputs: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """`−Σ log π(y|x) / Σ |y|`."""
        tokens = inputs["completion_mask"].sum()
        return -logps.sum() / tokens, {"logps/response": logps.mean()}
