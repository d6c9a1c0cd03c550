"""GPUs by name: memory in GiB, and the dense peak of bfloat16 arithmetic from the maker's data sheets.

Where a card has no bfloat16 units (T4, V100) the peak is that of float16, which these programs do not use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from spac_theory.checks import choice


@dataclass(frozen=True)
class Card:
    """Memory (GiB) and peak (FLOP/s) of one GPU."""

    memory: float
    peak: float


CARDS = {
    "t4": Card(16, 65e12),
    "v100": Card(32, 125e12),
    "l4": Card(24, 121e12),
    "a10": Card(24, 125e12),
    "rtx-3090": Card(24, 71e12),
    "rtx-4090": Card(24, 165e12),
    "l40s": Card(48, 362e12),
    "a100-40": Card(40, 312e12),
    "a100-80": Card(80, 312e12),
    "h100": Card(80, 989e12),
    "h100-pcie": Card(80, 756e12),
    "h200": Card(141, 989e12),
}


def card(name: str) -> Card:
    """The card called `name`; refuses an unknown one with the list."""
    return CARDS[choice("gpu", name, CARDS)]


def recognise(device: str, memory: float) -> Card | None:
    """The card that a driver calls `device` and that has about so many GiB; None for one not in the list."""
    words = set(re.split(r"[^a-z0-9]+", device.lower()))
    named = {name: set(name.split("-")) - {"40", "80"} for name in CARDS}
    fits = [name for name, own in named.items() if own <= words]
    if not fits:
        return None
    return CARDS[min(fits, key=lambda n: (-len(named[n]), abs(CARDS[n].memory - memory)))]
