"""Slow copies of the weights being trained, moved at every step and kept with the checkpoints."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from llm.files import processes
from llm.training.checkpoints import folder_of

Weights = dict[str, Tensor]
FILES = {"ema": "slow_average.safetensors", "opponent": "slow_opponent.safetensors"}


class Copies(TrainerCallback):
    """The average `m ← decay · m + (1 − decay) · θ`, and the opponent, the average of every `refresh` steps.

    Both are copies of the trained weights alone and take their place for as long as they are asked
    (:meth:`playing`), so no second network is built. They start at the weights training starts from.
    """

    def __init__(self, decay: float, refresh: int) -> None:
        self.decay, self.refresh = decay, refresh
        self.weights: dict[str, Weights] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start from the current weights, or from the copies that a checkpoint holds."""
        from safetensors.torch import load_file

        trained = trained_weights(kwargs["model"])
        for name, file in FILES.items():
            path = folder_of(args, state) / file
            if state.global_step and path.exists():
                stored = load_file(path)
                self.weights[name] = {n: stored[n].to(p.device) for n, p in trained.items()}
            else:
                self.weights[name] = {n: p.detach().clone() for n, p in trained.items()}

    @torch.no_grad()
    def move(self, model: nn.Module, step: int) -> None:
        """Called at the start of step `step`, before anything is written."""
        for name, parameter in trained_weights(model).items():
            self.weights["ema"][name].lerp_(parameter.detach(), 1 - self.decay)
        if step % self.refresh == 0:
            self.weights["opponent"] = {n: t.clone() for n, t in self.weights["ema"].items()}

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Store both in the checkpoint."""
        from safetensors.torch import save_file

        if processes.is_main():
            for name, file in FILES.items():
                weights = {n: t.contiguous() for n, t in self.weights[name].items()}
                save_file(weights, folder_of(args, state) / file)

    @contextlib.contextmanager
    def playing(self, model: nn.Module, name: str) -> Iterator[nn.Module]:
        """`model` with the weights of a copy, and its own again afterwards."""
        mine = trained_weights(model)
        own = {n: p.data for n, p in mine.items()}
        try:
            for n, parameter in mine.items():
                parameter.data = self.weights[name][n]
            yield model
        finally:
            for n, parameter in mine.items():
                parameter.data = own[n]


def trained_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training changes."""
    return {n: p for n, p in model.named_parameters() if p.requires_grad}
