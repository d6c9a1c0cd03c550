"""Checkpoints that are whole or ignored, and the saved model at the end."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from experiments.common.files import read_json, write_json
from llm.files import processes

COMPLETE = "complete"


def folder_of(args: Any, state: Any) -> Path:
    """Where the trainer writes the checkpoint of this step."""
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"


class MarkComplete(TrainerCallback):
    """Put the mark `complete` into a checkpoint once all of it is on disk."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called when the checkpoint is written."""
        if processes.is_main():
            (folder_of(args, state) / COMPLETE).touch()


def last_complete(checkpoints: Path) -> str | None:
    """The newest checkpoint that was written to its end; half-written ones are removed."""
    found = sorted(checkpoints.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
    whole = [path for path in found if (path / COMPLETE).exists()]
    if processes.is_main():
        for path in set(found) - set(whole):
            shutil.rmtree(path)
    return str(whole[-1]) if whole else None


def save_model(trainer: Any, tokenizer: Any, target: Path) -> None:
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
        settle_order(temporary / "adapter_config.json")
        os.replace(temporary, target)
    processes.barrier()


def settle_order(path: Path) -> None:
    """Sort the module names of an adapter: PEFT writes a set, whose order changes from process to process."""
    if path.exists():
        config = read_json(path)
        modules = config["target_modules"]
        if isinstance(modules, list):
            write_json(path, {**config, "target_modules": sorted(modules)})
