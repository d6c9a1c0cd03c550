"""What is done beside the training steps: an average of the weights, a late question to the model."""

from __future__ import annotations

from typing import Any

import torch
from transformers import TrainerCallback

from llm.files import processes
from llm.models.packs import with_packs_later
from llm.training.checkpoints import folder_of


class Ema(TrainerCallback):
    """`m ← decay · m + (1 − decay) · θ` after every step, kept with the checkpoints.

    The average starts at the weights training starts from.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.mean: dict[str, torch.Tensor] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start from the current weights, or from the average a checkpoint holds."""
        from safetensors.torch import load_file

        path = folder_of(args, state) / "ema.safetensors"
        trained = {n: p for n, p in kwargs["model"].named_parameters() if p.requires_grad}
        if state.global_step and path.exists():
            stored = load_file(path)
            self.mean = {n: stored[n].to(p.device) for n, p in trained.items()}
        else:
            self.mean = {n: p.detach().clone().float() for n, p in trained.items()}

    @torch.no_grad()
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the average towards the weights."""
        for name, parameter in kwargs["model"].named_parameters():
            if name in self.mean:
                self.mean[name].lerp_(parameter.detach().float(), 1 - self.decay)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Store the average in the checkpoint."""
        from safetensors.torch import save_file

        if processes.is_main():
            save_file(
                {n: t.contiguous() for n, t in self.mean.items()},
                folder_of(args, state) / "ema.safetensors",
            )

    @torch.no_grad()
    def load_into(self, model: Any) -> None:
        """Replace the weights by their average."""
        for name, parameter in model.named_parameters():
            if name in self.mean:
                parameter.copy_(self.mean[name].to(parameter.dtype))


class LatePacks(TrainerCallback):
    """Asks a model whose weights came sharded whether it reads packs, before the first batch is made."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Every process asks, in the same call."""
        self.trainer.data_collator.packed = with_packs_later(self.trainer.model_wrapped)
