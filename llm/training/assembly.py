"""Putting a trainer together: model, adapters, rows, collator, arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llm.files.digests import Rows
from llm.methods.objective import Objective
from llm.models.load import ModelSettings, add_lora
from llm.training.batches import DemonstrationCollator, PreferenceCollator
from llm.training.settings import TrainSettings, arguments
from llm.training.trainer import SftTrainer, SpacTrainer


def prepare_model(model: Any, settings: ModelSettings, train: TrainSettings) -> Any:
    """Fresh adapters on a base model where asked for, and what checkpointing needs."""
    if settings.quantise is not None and not hasattr(model, "peft_config"):
        import peft

        ready: Any = peft.prepare_model_for_kbit_training
        model = ready(model, use_gradient_checkpointing=train.gradient_checkpointing)
    if settings.lora is not None and not hasattr(model, "peft_config"):
        model = add_lora(model, settings.lora)
    if train.gradient_checkpointing and hasattr(model, "enable_input_require_grads"):
        model.enable_input_require_grads()
    return model


def preference_trainer(
    model: Any,
    rows: Rows,
    objective: Objective,
    train: TrainSettings,
    settings: ModelSettings,
    folder: Path,
    tokenizer: Any,
    seed: int,
) -> SpacTrainer:
    """The three-stream trainer on rows with reference log-probs."""
    return SpacTrainer(
        prepare_model(model, settings, train),
        objective=objective,
        logp_chunk=train.logp_chunk,
        args=arguments(train, folder, seed),
        train_dataset=rows,
        data_collator=PreferenceCollator(tokenizer.pad_token_id),
    )


def sft_trainer(
    model: Any, rows: Rows, train: TrainSettings, folder: Path, tokenizer: Any, seed: int
) -> SftTrainer:
    """The supervised trainer on rows of `prompt_ids, response_ids`."""
    return SftTrainer(
        model,
        logp_chunk=train.logp_chunk,
        args=arguments(train, folder, seed),
        train_dataset=rows,
        data_collator=DemonstrationCollator(tokenizer.pad_token_id),
    )
