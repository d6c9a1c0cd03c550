"""How fast each method trained and what it held, from the times that its trainings left behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from experiments.common.files import read_json
from llm.training.throughput import together

COLUMNS = {
    "pairs_per_second": ("pairs/s", "{:.3g}", "rows a second, over all processes"),
    "tokens_per_second": (
        "tokens/s",
        "{:,.0f}",
        "tokens computed a second, no padding, a shared prompt once",
    ),
    "mfu": ("MFU", "{:.0%}", "counted operations over what the card does at its best"),
    "peak_gib": (
        "peak, GiB",
        "{:.2f}",
        "the most a process held: on its GPU, else resident with all libraries",
    ),
}


def speeds(run: Path, methods: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Rates of the trainings of each method that trained in this run directory, critics left out."""
    found = {}
    for name in methods:
        files = sorted((run / name).glob("round-*/train/throughput.json"))
        if files:
            found[name] = together([read_json(file) for file in files])
    return found


def grid(found: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]) -> list[list[str]]:
    """Header and lines as text; columns that nobody fills are left out, and nothing without lines."""
    shown = [key for key in COLUMNS if any(row[key] is not None for row in found.values())]
    lines = [[names[k], *(_cell(key, row[key]) for key in shown)] for k, row in found.items()]
    return [["training", *(COLUMNS[key][0] for key in shown)], *lines] if lines else []


def _cell(key: str, value: float | None) -> str:
    return "" if value is None else COLUMNS[key][1].format(value)


def legend() -> str:
    """What the columns mean."""
    return "; ".join(f"{title}: {meaning}" for title, _, meaning in COLUMNS.values()) + "."
