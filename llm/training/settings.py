"""The train stage: rows in, a saved model out; killed at any moment, it loses one save interval."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.common.files import write_json
from llm.files import processes
from llm.files.digests import model_digest
from llm.models.load import need
from spac_theory.checks import InputError, choice, integer, number

OPTIMISERS = {
    "adamw": "adamw_torch",
    "adamw_8bit": "adamw_bnb_8bit",
    "rmsprop": "rmsprop",
}
COMPLETE = "complete"


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


def last_complete(checkpoints: Path) -> str | None:
    """The newest checkpoint that was written to its end; half-written ones are removed."""
    found = sorted(checkpoints.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
    whole = [path for path in found if (path / COMPLETE).exists()]
    if processes.is_main():
        for path in set(found) - set(whole):
            shutil.rmtree(path)
    return str(whole[-1]) if whole else None


def fit(trainer: Any, folder: Path, tokenizer: Any, ema: float) -> dict[str, Any]:
    """Train to the end, from the last whole checkpoint if there is one, and save the model.

    Writes `model/` (weights in safetensors, tokenizer) and `log.json`; returns the stage outputs.
    """
    from transformers import PrinterCallback

    from llm.training.callbacks import Ema, MarkComplete

    target = folder / "model"
    average = Ema(ema) if ema else None
    trainer.remove_callback(PrinterCallback)  # every log is in log.json and the tracker
    if average is not None:
        trainer.add_callback(average)
    trainer.add_callback(MarkComplete())  # after everything else that writes into a checkpoint
    processes.barrier()
    checkpoint = last_complete(folder / "checkpoints")
    trainer.train(resume_from_checkpoint=checkpoint)
    if average is not None:
        average.load_into(trainer.model)
    _save(trainer, tokenizer, target)
    history = [_timeless(entry) for entry in trainer.state.log_history if "loss" in entry]
    if processes.is_main():
        write_json(folder / "log.json", history)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    processes.barrier()
    return {
        "model": "model",
        "log": "log.json",
        "weights": model_digest(target),
        "steps": trainer.state.global_step,
        "final_loss": history[-1]["loss"] if history else None,
    }


def _timeless(entry: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in entry.items() if not k.endswith(("_runtime", "_per_second"))}


def _save(trainer: Any, tokenizer: Any, target: Path) -> None:
    """Write the model beside `target`, then rename, so that `target` is always whole."""
    temporary = target.with_name(".model.tmp")
    if processes.is_main():
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
    processes.barrier()
    trainer.save_model(str(temporary))
    processes.barrier()
    if processes.is_main():
        (temporary / "training_args.bin").unlink(missing_ok=True)  # a pickle; nothing reads it
        tokenizer.save_pretrained(temporary)
        os.replace(temporary, target)
    processes.barrier()
