"""Small classifiers on the policy's states, trained with it and kept beside it, not in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback

from llm.files import processes
from llm.models.logprobs import causal_model
from llm.training.checkpoints import folder_of

FILE = "heads.safetensors"


def add_heads(model: nn.Module, classes: Mapping[str, int], seed: int) -> None:
    """Give `model` linear heads on its last states, drawn from `seed`."""
    base: Any = causal_model(model)
    weight = base.get_output_embeddings().weight
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = {name: nn.Linear(weight.shape[1], count) for name, count in classes.items()}
    kind = weight.dtype if weight.dtype == torch.float64 else torch.float32
    base.told_heads = nn.ModuleDict(made).to(device=weight.device, dtype=kind)


class KeepHeads(TrainerCallback):
    """Keeps the heads with the checkpoints; at the end they are saved beside the model and taken off it."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Go on with the heads of a checkpoint."""
        from safetensors.torch import load_file

        if state.global_step:
            heads: Any = causal_model(kwargs["model"])
            heads.told_heads.load_state_dict(load_file(folder_of(args, state) / FILE))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Store the heads."""
        self._save(kwargs["model"], folder_of(args, state) / FILE)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The finished heads."""
        base: Any = causal_model(kwargs["model"])
        self._save(base, Path(args.output_dir).parent / FILE)
        base.told_heads = nn.ModuleDict()

    def _save(self, model: Any, path: Path) -> None:
        from safetensors.torch import save_file

        if processes.is_main():
            base: Any = causal_model(model)
            weights = base.told_heads.state_dict()
            save_file({name: tensor.contiguous() for name, tensor in weights.items()}, path)
