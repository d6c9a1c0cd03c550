"""`python -m llm.plan`: memory, arithmetic, time and disk of a run, before anything is downloaded.

    python -m llm.plan model=mistral-7b gpus=8                       # eight H100s
    python -m llm.plan model=local model.name=FOLDER data.source=rows.jsonl gpu=rtx-4090 gpus=1
    python -m llm.plan model=mistral-7b data.revision=COMMIT train.lora=true gpu=rtx-3090 gpus=1

It takes every setting of llm.run, and of its own: gpu (a card by name), gpus, gpu_memory (GiB, instead of
the card's), mfu (share of the card's peak), generated_tokens (a second and GPU), pairs, tokens (a sequence).
It prints the parts of the memory of one GPU in training, sampling and the reference pass, and refuses, with
exit code 2, a plan that cannot fit, saying what would.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from experiments.common.program import launch
from llm.models.cards import CARDS, card
from llm.planning.advice import check, work_of
from llm.planning.memory import Hardware, memory, without_gradients
from llm.planning.size import measure
from llm.planning.work import arithmetic, disk, hours
from llm.recipes import settled
from llm.run import CONFIG, quiet
from llm.settings import Settings
from spac_theory.checks import integer, number

OWN = ("gpu", "gpus", "gpu_memory", "mfu", "generated_tokens", "pairs", "tokens")


def show(settings: Settings, hardware: Hardware, rows: int, tokens: float) -> None:
    """Print the plan as tables, then refuse it if it cannot fit."""
    from rich.console import Console
    from rich.table import Table

    size = measure(settings)
    table = Table(
        title=f"{size.parameters:,} parameters, {hardware.gpus} GPUs of {hardware.gpu_memory:g} GiB"
    )
    table.add_column("part")
    table.add_column("estimate", justify="right")
    parts = memory(settings, size, hardware)
    for name, value in parts.items():
        if value:
            table.add_row(name, f"{value:.2f} GiB")
    table.add_row(
        f"{work_of(settings)}, total a GPU", f"{sum(parts.values()):.2f} GiB", style="bold"
    )
    for name, value in without_gradients(settings, size, hardware).items():
        table.add_row(f"{name}, total a GPU", f"{value:.2f} GiB", style="bold")
    for name, value in arithmetic(settings, size, rows, tokens).items():
        table.add_row(f"{name}, a round", f"{value:.3g} FLOP")
    for name, value in hours(settings, size, hardware, rows, tokens).items():
        table.add_row(f"{name}, a round", f"{value:.2f} h")
    table.add_row("wrapped one by one (FSDP)", ", ".join(size.wrapped) or "nothing")
    table.add_row("disk of the run", f"{disk(settings, size):.0f} GiB")
    console = Console(width=100)
    console.print(table)
    console.print(
        f"Assumed: {rows:,} pairs, {tokens:g} tokens a sequence, MFU {hardware.mfu:g}, "
        f"{hardware.generated_tokens:g} generated tokens/s a GPU. Estimates, not measurements."
    )
    check(settings, size, hardware)


def execute(values: dict[str, Any], output: Path | None = None) -> None:
    """Build settings from a plain mapping and print the plan."""
    from llm.settings import build

    quiet()
    kind = card(str(values.pop("gpu", "h100")))
    hardware = Hardware(
        integer("gpus", values.pop("gpus", 8), low=1),
        number("gpu_memory", values.pop("gpu_memory", kind.memory), low=1),
        number("mfu", values.pop("mfu", 0.3), low=0, high=1, open_low=True),
        number("generated_tokens", values.pop("generated_tokens", 3000.0), low=1),
        kind.peak,
    )
    rows = integer("pairs", values.pop("pairs", 61135), low=1)
    tokens = number("tokens", values.pop("tokens", 500.0), low=1)
    show(build(Settings, settled(values)), hardware, rows, tokens)


def main() -> None:
    """The command line; settings of the planner's own need no plus sign."""
    if {"--help", "-h"} & set(sys.argv[1:]):
        print(
            f"{__doc__}\nCards: {', '.join(CARDS)}.\nSettings of llm.run: python -m llm.run --help"
        )
        return
    sys.argv[1:] = [f"+{w}" if w.partition("=")[0] in OWN else w for w in sys.argv[1:]]
    launch("llm.plan", "llm.plan:execute", folder=CONFIG, config="run")


if __name__ == "__main__":
    main()
