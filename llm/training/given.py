"""What training was given beside its rows: responses drawn, labels asked for, labels nobody could read.

Counted with the trajectory: a run killed and resumed counts each step once.
"""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from experiments.common.files import read_json, write_json
from llm.files import processes
from llm.training.checkpoints import folder_of


class Given:
    """Counts of one process, which all the others share; a step gives each process as many rows."""

    def __init__(self) -> None:
        self.samples = self.labels = self.failures = 0

    def total(self) -> dict[str, int]:
        """Over all processes."""
        return {name: value * processes.world() for name, value in vars(self).items()}


class Count(TrainerCallback):
    """Keeps the counts with the checkpoints."""

    def __init__(self, given: Given) -> None:
        self.given = given

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Go on from the counts of the checkpoint that training goes on from."""
        if state.global_step:
            vars(self.given).update(read_json(folder_of(args, state) / "given.json"))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Store the counts."""
        if processes.is_main():
            write_json(folder_of(args, state) / "given.json", vars(self.given))
