"""Trainers: `transformers.Trainer` with the loss of this project and nothing else changed.

Only `compute_loss`, `log` and the loss scaling of unequal forward passes are overridden, and with a budget
of tokens how a step is cut into passes. A loss is a mean over rows; passes are weighted by their rows, so
that the layout (batch 8, or 8 batches of 1 accumulated, packs of any size, the last one shorter) does not
change the trajectory.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer

from llm.data.trees import unpacked
from llm.files.failures import Diverged
from llm.methods import Batch, Method, Metrics, Stream
from llm.models.flops import cost_of
from llm.models.logprobs import (
    DEFAULT_CHUNK,
    pack_logps,
    sequence_logps,
    told_logps,
    with_logps,
)
from llm.training.batches import ROW_WEIGHT, lengths, read
from llm.training.optimisers import AdamWBf16
from llm.training.passes import PASSES, WEIGHTLESS, Cut, loader, passes_of
from llm.training.rollouts import Rollouts
from llm.training.settings import BF16_MOMENTS
from llm.training.throughput import Meter, peak_arithmetic
from llm.training.weights import weighted
from spac_theory.checks import InputError


class SequenceTrainer(Trainer):
    """A Trainer whose loss is a function of sequence log-probs; subclasses write `row_loss`."""

    def __init__(
        self,
        model: nn.Module,
        *,
        logp_chunk: int = DEFAULT_CHUNK,
        cut: Cut | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(model=self.taught(model), **kwargs)
        self.model_accepts_loss_kwargs = False  # a mean over rows, not over tokens
        self.logp_chunk, self.cut = logp_chunk, cut
        self.meter = Meter(cost_of(model), peak_arithmetic())
        self._sums: dict[str, Tensor] = {}
        self._sequences = 0.0
        self._mean_share: float | None = None

    @staticmethod
    def taught(model: nn.Module) -> nn.Module:
        """The model, able to answer :meth:`values`."""
        return with_logps(model)

    def values(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        """One number a sequence, stream by stream: its log-prob, from padded rows or from a pack."""
        if "pack/layout" in inputs:
            return by_stream(pack_logps(model, unpacked(inputs), self.logp_chunk), inputs)
        return sequence_logps(
            model,
            inputs["input_ids"],
            inputs["attention_mask"],
            inputs["completion_mask"],
            self.logp_chunk,
        )

    @staticmethod
    def get_optimizer_cls_and_kwargs(args: Any, model: Any = None) -> tuple[Any, dict[str, Any]]:
        """The optimiser of transformers, or AdamW with moments in bfloat16."""
        kind, options = Trainer.get_optimizer_cls_and_kwargs(args, model)
        if args.optim_args != BF16_MOMENTS:
            return kind, options
        return AdamWBf16, {k: options[k] for k in ("lr", "betas", "eps")}

    @abstractmethod
    def row_loss(
        self, logps: Tensor, inputs: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean loss over the rows of the batch, and metrics, from the `(sequences,)` log-probs."""

    def row_count(self, inputs: dict[str, Tensor]) -> float:
        """The number that the loss of this pass was divided by."""
        return float(len(lengths(inputs)))

    def share(self, inputs: dict[str, Tensor]) -> float:
        """How much this pass weighs in its step: nothing, or by its rows."""
        return 0.0 if WEIGHTLESS in inputs else self.row_count(inputs)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Micro-batches as in transformers; with a budget of tokens, steps with their passes."""
        if self.cut is None:
            return super().get_train_dataloader()
        rows, collate = cast(Any, self.train_dataset), cast(Any, self.data_collator)
        made = loader(rows, collate, collate.sizes, self.cut)
        return cast(DataLoader[Any], self.accelerator.prepare(made))

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Tensor | int | None]:
        """Prefetch the passes of one step and note how much they weigh in the mean."""
        self.meter.start()
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        shares = [self.share(inputs) for batch in batches for inputs in passes_of(batch)]
        mean = torch.tensor(sum(shares) / max(len(shares), 1), device=device, dtype=torch.float64)
        self._mean_share = float(self.accelerator.reduce(mean, reduction="mean"))
        return batches, items

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> Tensor:
        """One backward pass a forward pass; processes exchange gradients after the last of a step."""
        if PASSES not in inputs:
            return super().training_step(model, inputs, num_items_in_batch)
        passes, state = passes_of(inputs), self.accelerator.gradient_state
        self.current_gradient_accumulation_steps = len(passes)
        losses = []
        for number, part in enumerate(passes, 1):
            last = number == len(passes)
            state._set_sync_gradients(last)
            with contextlib.nullcontext() if last else self.accelerator.no_sync(model):
                losses.append(super().training_step(model, part))
        return torch.stack(losses).sum()

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The mean loss of the pass, weighted by its share of the rows of the step."""
        logps = self.values(model, inputs)
        loss, metrics = self.row_loss(logps, inputs)
        if model.training:
            self._require_finite(loss)
            share = self.share(inputs)
            if share:
                self.meter.count(inputs)
            self._record(metrics, len(logps) if share else 0)
            if self._mean_share is not None:
                loss = loss * (share / (self._mean_share or 1.0))
        return (loss, {"logps": logps}) if return_outputs else loss

    def _require_finite(self, loss: Tensor) -> None:
        """Stop at the first loss that is no number: every step after it would be one too."""
        if not torch.isfinite(loss.detach()):
            raise Diverged(
                f"The loss is {float(loss.detach())} at step {self.state.global_step + 1}, so training "
                f"has diverged; lower train.learning_rate ({self.args.learning_rate:g}) or set "
                f"train.max_grad_norm ({self.args.max_grad_norm:g}), and run again."
            )

    def _record(self, metrics: dict[str, Tensor], sequences: int) -> None:
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + sequences * value.detach().float()
        self._sequences += sequences

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the means since the last log, over the sequences of all processes, to every training log."""
        if "loss" in logs and self._sums:
            names = sorted(self._sums)
            counted = torch.as_tensor(self._sequences).to(self._sums[names[0]])
            stacked = torch.stack([counted, *(self._sums[n] for n in names)])
            count, *sums = self.accelerator.reduce(stacked, reduction="sum").tolist()
            logs = {
                **logs,
                **{n: value / max(count, 1) for n, value in zip(names, sums, strict=True)},
            }
            self._sums, self._sequences = {}, 0.0
        if "loss" in logs:
            logs = {**logs, **self.meter.since()}
        super().log(logs, start_time)


def by_stream(values: Tensor, inputs: dict[str, Tensor]) -> Tensor:
    """What a pack gives row by row, `(B · K,)`, stream by stream as :func:`read` wants it."""
    rows = len(inputs["prompt_ids"]) if "prompt_ids" in inputs else len(values)
    return values.view(rows, -1).transpose(0, 1).flatten()


def _without_gradient(loss: Tensor) -> bool:
    return torch.is_grad_enabled() and not loss.requires_grad


class MethodTrainer(SequenceTrainer):
    """The loss of a method on the streams it declares, those of a step drawn as they are needed.

    Rows carry the log-probs of frozen policies, so that one network is in memory, unless a stream is
    drawn at every step.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        method: Method,
        streams: tuple[Stream, ...],
        rollouts: Rollouts | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, **kwargs)
        self.method, self.streams, self.rollouts = method, streams, rollouts

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Tensor | int | None]:
        """The micro-batches of one step, with what the current weights answer."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self.rollouts is not None:
            step, model = self.state.global_step, cast(nn.Module, self.model)
            batches = [self.rollouts(model, b, step, i) for i, b in enumerate(batches)]
        return batches, items

    def values(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        """Log-probs; what the heads say joins the batch as `told/<head>`."""
        if not self.method.heads():
            return super().values(model, inputs)
        ids, attention, completion = (
            inputs[n] for n in ("input_ids", "attention_mask", "completion_mask")
        )
        logps, told = told_logps(model, ids, attention, completion, self.logp_chunk)
        inputs |= {f"told/{name}": logits for name, logits in told.items()}
        return logps

    def row_count(self, inputs: dict[str, Tensor]) -> float:
        """The number of prompts."""
        return float(len(inputs["prompt_ids"]))

    def row_loss(
        self, logps: Tensor, inputs: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The method's loss on what the batch holds; refuses a loss that is not one number."""
        kind = type(self.method).__name__
        try:
            loss, metrics = self._loss(read(inputs, logps, self.streams), inputs.get(ROW_WEIGHT))
        except KeyError as error:
            names = ", ".join(s.name for s in self.streams)
            raise InputError(
                f"The loss of {kind} reads {error}, which its streams ({names}) with their anchors and "
                "labels do not declare; declare it in streams()."
            ) from error
        if not isinstance(loss, Tensor) or loss.ndim or _without_gradient(loss):
            shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise InputError(
                f"The loss of {kind} is {shape}; it must be one number, the mean over the rows, with a "
                "gradient."
            )
        return loss, metrics

    def _loss(self, batch: Batch, weights: Tensor | None) -> tuple[Tensor, Metrics]:
        return (
            self.method.loss(batch)
            if weights is None
            else weighted(self.method.loss, batch, weights)
        )


class SftTrainer(SequenceTrainer):
    """Supervised fine-tuning: the negative log-likelihood per response token."""

    def row_count(self, inputs: dict[str, Tensor]) -> float:
        """The number of response tokens."""
        return float(lengths(inputs).sum())

    def row_loss(
        self, logps: Tensor, inputs: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """`−Σ log π(y|x) / Σ |y|`."""
        return -logps.sum() / lengths(inputs).sum(), {"logps/response": logps.mean()}
