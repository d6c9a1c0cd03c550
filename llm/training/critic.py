"""The critic: a second network with one bounded number a response, and how it is trained.

`r(x,y) = bound/2 · tanh(head(state at the last token))`; the network is that of the policy, the head is new.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from llm.data.padding import Ids, each_once, pad
from llm.data.row import Row
from llm.data.trees import unpacked
from llm.methods import Batch, Metrics, Stream
from llm.models.load import ModelSettings, add_lora
from llm.models.packs import over_packs, pack_outputs, with_critic_packs
from llm.training.batches import StreamCollator, Tensors, read, tree
from llm.training.passes import Cut
from llm.training.settings import TrainSettings, arguments
from llm.training.trainer import SequenceTrainer, by_stream

Loss = Callable[[Batch], tuple[Tensor, Metrics]]


def rewards(model: nn.Module, inputs: Tensors, bound: float) -> Tensor:
    """`r(x,y)` of every sequence, `(B,)`, in `(−bound/2, bound/2)`, stream by stream."""
    if "pack/layout" in inputs:
        raw = by_stream(pack_outputs(model, unpacked(inputs)), inputs)
    else:
        output = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
        raw = output.logits.squeeze(-1)
    return bound / 2 * torch.tanh(raw.to(torch.promote_types(raw.dtype, torch.float32)))


@torch.no_grad()
def score_rows(
    model: nn.Module,
    rows: Sequence[Row],
    names: Sequence[str],
    pad_id: int,
    bound: float,
    size: int,
    tokens: int = 0,
) -> list[dict[str, list[float]]]:
    """`r(x,y)` of every response of the streams `names`.

    Padded, about `size` rows' responses at a time; with `tokens`, by a model that reads packs, of at most so
    many tokens each.
    """
    was_training = model.training
    model.eval()
    if tokens:
        found = over_packs(
            model,
            [tree(r, names) for r in rows],
            tokens,
            lambda packed: rewards(model, packed.tensors(), bound),
        ).tolist()
    else:
        prompts = [r.prompt for r in rows for n in names for _ in r.responses[n]]
        responses = [y for r in rows for n in names for y in r.responses[n]]
        chunk = size * max(1, min(8, len(responses) // len(rows)))
        found = each_once(prompts, responses, partial(_padded, model, pad_id, bound, chunk))
    model.train(was_training)
    each = iter(found)
    return [{n: [next(each) for _ in r.responses[n]] for n in names} for r in rows]


def _padded(
    model: nn.Module,
    pad_id: int,
    bound: float,
    chunk: int,
    prompts: list[Ids],
    responses: list[Ids],
) -> list[float]:
    """`r(x,y)` of each sequence, `chunk` padded ones at a time."""
    device = next(model.parameters()).device
    found: list[float] = []
    for i in range(0, len(prompts), chunk):
        batch = pad(prompts[i : i + chunk], responses[i : i + chunk], pad_id)
        found += rewards(model, {k: v.to(device) for k, v in batch.items()}, bound).tolist()
    return found


class CriticTrainer(SequenceTrainer):
    """Minimises a loss of rewards, handed over as a batch whose `logp` holds `r(x,y)`."""

    def __init__(
        self,
        model: nn.Module,
        *,
        loss: Loss,
        streams: tuple[Stream, ...],
        bound: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, **kwargs)
        self.critic_loss, self.streams, self.bound = loss, streams, bound

    @staticmethod
    def taught(model: nn.Module) -> nn.Module:
        """The model as it is."""
        return model

    def values(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        """One number a sequence: its reward."""
        return rewards(model, inputs, self.bound)

    def row_count(self, inputs: dict[str, Tensor]) -> float:
        """The number of prompts."""
        return float(len(inputs["prompt_ids"]))

    def row_loss(
        self, logps: Tensor, inputs: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The critic's loss."""
        return self.critic_loss(read(inputs, logps, self.streams))


def critic_trainer(
    model: Any,
    rows: Sequence[Row],
    streams: tuple[Stream, ...],
    loss: Loss,
    bound: float,
    train: TrainSettings,
    settings: ModelSettings,
    folder: Path,
    pad_id: int,
    seed: int,
) -> CriticTrainer:
    """The trainer of a critic on native rows; under LoRA the adapters and the head are trained."""
    if settings.lora is not None and not hasattr(model, "peft_config"):
        model = add_lora(model, settings.lora, "SEQ_CLS")
    packed = train.packing and with_critic_packs(model)
    return CriticTrainer(
        model,
        loss=loss,
        streams=tuple(replace(s, anchors=()) for s in streams),
        bound=bound,
        cut=Cut.of(train),
        args=arguments(train, folder, seed),
        train_dataset=list(rows),
        data_collator=StreamCollator(
            pad_id, tuple(replace(s, anchors=()) for s in streams), packed
        ),
    )


class StopOnHeldOut(TrainerCallback):
    """Asks for the held-out loss every `every` steps and goes back to the best weights at the end."""

    def __init__(self, loss: Callable[[nn.Module], float], every: int, patience: int) -> None:
        self.loss, self.every, self.patience = loss, every, patience
        self.best, self.step, self.kept = float("inf"), 0, dict[str, Tensor]()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep what is better than ever, stop what is not for long."""
        if state.global_step % self.every:
            return
        now = self.loss(kwargs["model"])
        if now < self.best:
            self.best, self.step = now, state.global_step
            trained = {n: p for n, p in kwargs["model"].named_parameters() if p.requires_grad}
            self.kept = {n: copy.deepcopy(p.detach().cpu()) for n, p in trained.items()}
        elif state.global_step - self.step >= self.patience:
            control.should_training_stop = True

    @torch.no_grad()
    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The best weights."""
        for name, parameter in kwargs["model"].named_parameters():
            if name in self.kept:
                parameter.copy_(self.kept[name])
