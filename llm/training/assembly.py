"""Putting a trainer together: model, adapters, rows, collator, arguments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from llm.data.row import Row
from llm.files.digests import Rows
from llm.methods import Method, Stream
from llm.models.load import ModelSettings, add_lora
from llm.models.packs import comes_later, with_packs
from llm.training.batches import DemonstrationCollator, StreamCollator
from llm.training.callbacks import LatePacks
from llm.training.given import Count
from llm.training.heads import KeepHeads, add_heads
from llm.training.passes import Cut
from llm.training.rewriting import callbacks
from llm.training.rollouts import Rollouts
from llm.training.settings import TrainSettings, arguments
from llm.training.trainer import MethodTrainer, SftTrainer
from llm.training.weights import balanced


def prepare_model(model: Any, settings: ModelSettings, train: TrainSettings, seed: int) -> Any:
    """Fresh adapters on a base model where asked for, drawn from `seed`; what checkpointing needs."""
    if settings.quantise is not None and not hasattr(model, "peft_config"):
        import peft

        ready: Any = peft.prepare_model_for_kbit_training
        model = ready(model, use_gradient_checkpointing=train.gradient_checkpointing)
    if settings.lora is not None and not hasattr(model, "peft_config"):
        torch.manual_seed(seed)  # whatever this process drew before: a resumed one drew less
        model = add_lora(model, settings.lora)
    if train.gradient_checkpointing and hasattr(model, "enable_input_require_grads"):
        model.enable_input_require_grads()
    return model


def method_trainer(
    model: Any,
    rows: Sequence[Row],
    method: Method,
    streams: tuple[Stream, ...],
    train: TrainSettings,
    settings: ModelSettings,
    folder: Path,
    tokenizer: Any,
    seed: int,
    rollouts: Rollouts | None = None,
) -> MethodTrainer:
    """The trainer of a method on native rows."""
    ready = prepare_model(model, settings, train, seed)
    stored = all(stream.when != "step" for stream in streams)
    wanted = train.packing and stored and not method.heads()
    late = wanted and comes_later(ready)
    packed = wanted and not late and with_packs(ready)
    if method.heads():
        add_heads(ready, method.heads(), seed)
    trainer = MethodTrainer(
        ready,
        method=method,
        streams=streams,
        rollouts=rollouts,
        logp_chunk=train.logp_chunk,
        cut=Cut.of(train) if stored else None,
        args=arguments(train, folder, seed, drawn=not stored),
        train_dataset=balanced(rows),
        data_collator=StreamCollator(tokenizer.pad_token_id, streams, packed),
    )
    if late:
        trainer.add_callback(LatePacks(trainer))
    if method.heads():
        trainer.add_callback(KeepHeads())
    if rollouts is not None:
        for kept in (Count(rollouts.given), *callbacks(rollouts)):
            trainer.add_callback(kept)
    return trainer


def sft_trainer(
    model: Any, rows: Rows, train: TrainSettings, folder: Path, tokenizer: Any, seed: int
) -> SftTrainer:
    """The supervised trainer on rows of `prompt_ids, response_ids`."""
    packed = train.packing and with_packs(model)
    return SftTrainer(
        model,
        logp_chunk=train.logp_chunk,
        cut=Cut.of(train),
        args=arguments(train, folder, seed),
        train_dataset=rows,
        data_collator=DemonstrationCollator(tokenizer.pad_token_id, packed),
    )
