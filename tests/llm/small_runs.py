"""What several tests of the language-model path share."""

from __future__ import annotations

from pathlib import Path

import torch

from experiments.claims.kills import SMALL
from llm.pipeline import Pipeline
from llm.run import composed
from llm.settings import Settings, build


class Killed(BaseException):
    """Stands for a signal: nothing in the project catches it."""


def silent_pipeline(folder: Path, *overrides: str) -> Pipeline:
    """A small run in `folder` that says nothing; its methods are among the overrides."""
    small = [word for word in SMALL if not word.startswith("methods=")]
    values = composed("run", f"run_dir={folder}", *small, *overrides)
    return Pipeline(build(Settings, values), note=lambda text: None)


def gradient(model: torch.nn.Module, loss: torch.Tensor) -> torch.Tensor:
    """The gradient of `loss` in all parameters, flat."""
    model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])
