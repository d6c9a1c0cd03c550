"""How a round is optimised, and the same in the words of transformers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from experiments.common.configuration import AtLeastZero, Count, Positive, Share
from llm.files import processes
from llm.models.load import lacks
from llm.models.packs import PACK_TOKENS
from spac_theory.checks import InputError

OPTIMISERS = {
    "adamw": "adamw_torch",
    "adamw_8bit": "adamw_bnb_8bit",
    "adamw_bf16": "adamw_torch",  # with the moments of BF16_MOMENTS
    "rmsprop": "rmsprop",
}
BF16_MOMENTS = "moments=bf16"


@dataclass(frozen=True)
class TrainSettings:
    """Optimisation of one round. `batch` counts rows a step over all processes.

    A forward pass of a process has `micro_batch` rows or, with `tokens`, at most so many tokens (a longer row
    has a pass of its own); `micro_batch` then holds only where responses are drawn at every step.
    """

    epochs: Positive
    batch: Count
    micro_batch: Count
    learning_rate: Positive
    schedule: Literal["linear", "cosine", "constant", "constant_with_warmup", "inverse_sqrt"]
    warmup: AtLeastZero
    optimiser: Literal["adamw", "adamw_8bit", "adamw_bf16", "rmsprop"]
    weight_decay: AtLeastZero
    max_grad_norm: AtLeastZero
    bf16: bool
    gradient_checkpointing: bool
    logp_chunk: Count
    ema: Share
    save_every: Count
    log_every: Count
    report_to: list[Literal["tensorboard", "wandb"]]
    packing: bool = False
    tokens: Count | None = None

    def __post_init__(self) -> None:
        share, told = self.micro_batch * processes.world(), list[str]()
        if self.tokens is not None and self.batch % processes.world():
            told.append(
                f"batch is {self.batch}; it must be a multiple of the number of processes, "
                f"{processes.world()}."
            )
        if self.tokens is None and self.batch % share:
            told.append(
                f"batch is {self.batch}; it must be a multiple of micro_batch times the number of "
                f"processes, {self.micro_batch} x {processes.world()} = {share}."
            )
        if self.warmup >= 1 and self.warmup != int(self.warmup):
            told.append(
                f"warmup is {self.warmup:g}; it must be a share of the steps below 1, or a whole number "
                "of steps."
            )
        needs = [("bitsandbytes", "optimiser")] if self.optimiser == "adamw_8bit" else []
        for package, field in [*needs, *((tracker, "report_to") for tracker in self.report_to)]:
            missing = lacks(package, field)
            told += [missing] if missing else []
        if told:
            raise InputError("\n".join(told))

    @property
    def share(self) -> int:
        """Rows a step and process."""
        return self.batch // processes.world()

    @property
    def rows(self) -> int:
        """Rows a forward pass where no budget of tokens holds: `micro_batch`, or what divides the share."""
        return max(k for k in range(1, self.micro_batch + 1) if self.share % k == 0)

    @property
    def scoring(self) -> int:
        """Tokens a pass without gradients where rows are packed; 0 where they are not."""
        return (self.tokens or PACK_TOKENS) if self.packing else 0


def arguments(settings: TrainSettings, folder: Path, seed: int, drawn: bool = False) -> Any:
    """The `TrainingArguments` of transformers for these settings.

    With `settings.tokens` a micro-batch is a whole step, which :mod:`llm.training.passes` cuts into passes,
    unless responses are `drawn` at every step.
    """
    import torch
    from transformers import TrainingArguments

    if settings.report_to:
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder / "tensorboard")
    kind: Any = TrainingArguments
    rows = settings.rows if drawn or settings.tokens is None else settings.share
    return kind(
        output_dir=str(folder / "checkpoints"),
        use_cpu=not torch.cuda.is_available(),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=settings.share // rows,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup,
        optim=OPTIMISERS[settings.optimiser],
        optim_args=BF16_MOMENTS if settings.optimiser == "adamw_bf16" else None,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        bf16=settings.bf16,
        **checkpointing(settings.gradient_checkpointing),
        save_strategy="steps",
        save_steps=settings.save_every,
        save_total_limit=2,  # the newest may be half written when the process dies
        logging_steps=settings.log_every,
        logging_nan_inf_filter=False,
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
