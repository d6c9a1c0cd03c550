"""How a round is optimised, and the same in the words of transformers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm.files import processes
from llm.models.load import need
from spac_theory.checks import InputError, choice, integer, number

OPTIMISERS = {
    "adamw": "adamw_torch",
    "adamw_8bit": "adamw_bnb_8bit",
    "rmsprop": "rmsprop",
}


@dataclass(frozen=True)
class TrainSettings:
    """Optimisation of one round. `batch` counts rows a step over all processes."""

    epochs: float
    batch: int
    micro_batch: int
    learning_rate: float
    schedule: str
    warmup: float
    optimiser: str
    weight_decay: float
    max_grad_norm: float
    bf16: bool
    gradient_checkpointing: bool
    logp_chunk: int
    ema: float
    save_every: int
    log_every: int
    report_to: list[str]

    def __post_init__(self) -> None:
        choice("train.optimiser", self.optimiser, OPTIMISERS)
        if self.optimiser == "adamw_8bit":
            need("bitsandbytes", "train.optimiser")
        number("train.learning_rate", self.learning_rate, low=0, open_low=True)
        number("train.ema", self.ema, low=0, high=1, open_high=True)
        integer("train.save_every", self.save_every, low=1)
        integer("train.logp_chunk", self.logp_chunk, low=1)
        for tracker in self.report_to:
            choice("train.report_to", tracker, ("tensorboard", "wandb"))
            need(tracker, "train.report_to")

    @property
    def accumulation(self) -> int:
        """Micro-batches a step and process, or a refusal if the batch cannot be so divided."""
        share = self.micro_batch * processes.world()
        if self.batch % share:
            raise InputError(
                f"train.batch is {self.batch}; it must be a multiple of train.micro_batch times "
                f"the number of processes, {self.micro_batch} x {processes.world()} = {share}."
            )
        return self.batch // share


def arguments(settings: TrainSettings, folder: Path, seed: int) -> Any:
    """The `TrainingArguments` of transformers for these settings."""
    import torch
    from transformers import TrainingArguments

    if settings.report_to:
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder / "tensorboard")
    kind: Any = TrainingArguments
    return kind(
        output_dir=str(folder / "checkpoints"),
        use_cpu=not torch.cuda.is_available(),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.micro_batch,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup,
        optim=OPTIMISERS[settings.optimiser],
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        bf16=settings.bf16,
        **checkpointing(settings.gradient_checkpointing),
        save_strategy="steps",
        save_steps=settings.save_every,
        save_total_limit=2,  # the newest may be half written when the process dies
        logging_steps=settings.log_every,
        report_to=settings.report_to,
        remove_unused_columns=False,
        disable_tqdm=True,
        data_seed=seed,
        seed=seed,
        dataloader_num_workers=0,
    )


def checkpointing(on: bool) -> dict[str, Any]:
    """The argument that recomputes activations, under the name this transformers gives it."""
    from dataclasses import fields

    from transformers import TrainingArguments

    names = {f.name for f in fields(TrainingArguments)}
    new = "activation_checkpointing"
    return {new if new in names else "gradient_checkpointing": on}
