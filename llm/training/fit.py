"""Rows in, a saved model out; killed at any moment, training loses one save interval."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback

from experiments.common.files import write_json
from llm.files import processes
from llm.files.digests import model_digest
from llm.files.failures import Diverged
from llm.training import throughput
from llm.training.callbacks import Ema
from llm.training.checkpoints import MarkComplete, last_complete, save_model
from llm.training.progress import TrainingProgress

FEW = 2  # rows that a saved model is asked about: weights that are no numbers spoil every answer


def fit(trainer: Any, folder: Path, tokenizer: Any, ema: float) -> dict[str, Any]:
    """Train to the end, from the last whole checkpoint if there is one, and save the model.

    Writes `model/` (weights in safetensors, tokenizer), `log.json`, and `throughput.json`, which holds times
    and so is no output of the stage; returns the stage outputs.
    """
    target = folder / "model"
    average = Ema(ema) if ema else None
    trainer.remove_callback(PrinterCallback)  # every log is in log.json and the tracker
    if average is not None:
        trainer.add_callback(average)
    trainer.add_callback(TrainingProgress(f"train {folder.parent.name}", trainer))
    trainer.add_callback(MarkComplete())  # after everything else that writes into a checkpoint
    processes.barrier()
    checkpoint = last_complete(folder / "checkpoints")
    trainer.train(resume_from_checkpoint=checkpoint)
    measured = {**trainer.meter.total(), "memory_gib": throughput.parts(trainer)}
    if average is not None:
        average.load_into(trainer.model)
    require_finite(trainer)
    save_model(trainer, tokenizer, target)
    history = [_timeless(entry) for entry in trainer.state.log_history if "loss" in entry]
    if processes.is_main():
        write_json(folder / "log.json", history)
        write_json(folder / "throughput.json", measured)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    processes.barrier()
    return {
        "model": "model",
        "log": "log.json",
        "weights": model_digest(target),
        "steps": trainer.state.global_step,
        "final_loss": history[-1]["loss"] if history else None,
    }


@torch.no_grad()
def require_finite(trainer: Any) -> None:
    """Refuse to save a model that gives no numbers: the last step, whose loss nobody saw, may do that."""
    size = min(FEW, len(trainer.train_dataset))
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(size)])
    if not {"input_ids", "pack/layout"} & set(batch):  # all responses are drawn at each step
        return
    inputs = {name: value.to(trainer.args.device) for name, value in batch.items()}
    if not torch.isfinite(trainer.values(trainer.model.eval(), inputs)).all():
        raise Diverged(
            "After the last step the model gives log-probabilities that are no numbers, so training has "
            f"diverged; lower train.learning_rate ({trainer.args.learning_rate:g}) and run again."
        )


def _timeless(entry: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in entry.items() if not k.endswith(throughput.TIMED)}
