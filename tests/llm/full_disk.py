"""Train onto a disk that fills up, make room, go on: `unshare --map-root-user --mount` runs it with a DIR.

The disk is a small tmpfs of this process's own mount namespace, so nobody else sees it and nothing is left.
For every size it says in a line of JSON what the error was, the exit code, the sentence, and whether the run
that went on ended with the bits of an undisturbed one.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from experiments.common.program import guarded
from llm.methods import streams_of
from llm.methods.spac import Spac
from llm.training.batches import StreamCollator
from llm.training.fit import fit
from llm.training.trainer import MethodTrainer
from llm.worlds import tiny

from .conftest import tiny_mistral
from .test_llm_pipeline import rows

STEP, ROOM = 44, 8192  # KiB


def trained(folder: Path) -> dict[str, Any]:
    """The outputs of a stage of two steps with a checkpoint after each; begun or gone on with."""
    streams = streams_of(Spac(), samples=1)
    arguments = TrainingArguments(
        str(folder / "checkpoints"), use_cpu=True, report_to=[], num_train_epochs=1, learning_rate=1e-3,
        save_strategy="steps", save_steps=1, disable_tqdm=True, remove_unused_columns=False,
        logging_steps=1, per_device_train_batch_size=8,
    )  # fmt: skip
    trainer = MethodTrainer(
        tiny_mistral(), method=Spac(lam=3.0, beta=0.3), streams=streams, args=arguments,
        train_dataset=rows(11), data_collator=StreamCollator(0, streams),
    )  # fmt: skip
    return fit(trainer, folder, tiny.tokenizer(), 0.0)


def on_a_disk_of(kib: int, folder: Path, whole: dict[str, Any]) -> dict[str, Any]:
    """Fill a disk of that size, then give it room and go on."""
    met: list[str] = []

    def attempt() -> None:
        try:
            trained(folder)
        except Exception as error:
            met.append(type(error).__name__)
            raise

    mount = ["mount", "-t", "tmpfs", "none", str(folder), "-o"]
    subprocess.run([*mount, f"size={kib}k"], check=True)
    said = io.StringIO()
    with redirect_stderr(said):
        code = guarded(attempt)
    subprocess.run([*mount, f"remount,size={ROOM}k"], check=True)
    same = trained(folder) == whole
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
    sentence = said.getvalue().splitlines()[-1:]
    return {"kib": kib, "met": met, "code": code, "said": sentence, "same": same}


def main(place: Path) -> None:
    """Disks of growing size until one is large enough."""
    (place / "disk").mkdir()
    whole = trained(place / "whole")
    for kib in range(4, ROOM, STEP):
        told = on_a_disk_of(kib, place / "disk", whole)
        print(json.dumps(told), flush=True)
        if told["code"] == 0:
            break


if __name__ == "__main__":
    main(Path(sys.argv[1]))
