"""What one sees of training: a line of progress, and at least one entry in the log."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from llm.files.progress import Progress


class TrainingProgress(TrainerCallback):
    """Steps, loss, tokens a second and time left; logs the last step, however short the run."""

    def __init__(self, title: str, trainer: Any) -> None:
        self.title, self.trainer = title, trainer
        self.bar: Progress | None = None
        self.steps = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the bar at the step of the checkpoint."""
        self.bar = Progress(self.title, state.max_steps, unit="steps")
        self.bar.__enter__()
        self.steps = state.global_step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Move the bar; the last step is always logged."""
        if state.global_step >= state.max_steps:
            control.should_log = True
        if self.bar is not None:
            self.bar.tokens = int(self.trainer.meter.counted["tokens"])
            self.bar.advance(state.global_step - self.steps)
            self.steps = state.global_step
        return control

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Show the newest loss."""
        if self.bar is not None and logs and "loss" in logs:
            self.bar.note = f"loss {logs['loss']:.4g}"

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop the bar."""
        if self.bar is not None:
            self.bar.__exit__(None, None, None)
