"""Which process of a launch this is (`torchrun`, `accelerate launch`, Slurm); one by default."""

from __future__ import annotations

import os


def rank() -> int:
    """Number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """Number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process writes the shared files."""
    return rank() == 0


def sharded() -> bool:
    """Whether the launcher shards the weights (FSDP or DeepSpeed under `accelerate launch`)."""
    names = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")
    return any(os.environ.get(name, "false").lower() in ("1", "true") for name in names)


def barrier() -> None:
    """Wait for all processes."""
    if world() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()


def device() -> str:
    """Where this process computes: its own GPU if there is one, else the CPU."""
    import torch

    if torch.cuda.is_available():
        return f"cuda:{int(os.environ.get('LOCAL_RANK', '0'))}"
    return "cpu"
