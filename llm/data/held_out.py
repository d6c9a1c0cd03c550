"""Held-out rows: taken from a test split, or cut from the training rows by prompt; their texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from llm.data.formats import PreferenceRow, Prompt, normalise
from llm.files.digests import digest

REWARDS = ("chosen_reward", "rejected_reward")
SHOWN = 64  # prompts whose texts are kept for people to read


def key_of(row: PreferenceRow) -> str:
    """The key of a row's prompt, equal for equal prompts."""
    return digest(row.prompt)


def cut(raw: Sequence[Any], share: float, seed: int) -> tuple[list[Any], list[Any]]:
    """`(training, test)`: a share of the prompts, with all of their rows, goes to the test rows.

    Which prompts these are depends on the prompts and `seed` alone, not on the order of the rows. With
    fewer than two prompts nothing can be cut, and the test rows are empty.
    """
    keys = [key_of(normalise(row, number)) for number, row in enumerate(raw, start=1)]
    order = sorted(set(keys), key=lambda key: digest([seed, key]))
    count = min(math.ceil(share * len(order)), len(order) - 1) if share > 0 else 0
    test = frozenset(order[: max(count, 0)])
    kept = [row for row, key in zip(raw, keys, strict=True) if key not in test]
    return kept, [row for row, key in zip(raw, keys, strict=True) if key in test]


def question(prompt: Prompt) -> str:
    """What a person or a judge sees of a prompt: the text, or the turns one after the other."""
    if isinstance(prompt, str):
        return prompt
    return "\n\n".join(turn["content"] for turn in prompt)


def texts(raw: Sequence[Any]) -> list[dict[str, Any]]:
    """Prompt, chosen and rejected answer of the first `SHOWN` prompts, in words, and known rewards."""
    found: dict[str, dict[str, Any]] = {}
    for number, item in enumerate(raw, start=1):
        row = normalise(item, number)
        words = {"prompt": question(row.prompt), "chosen": row.chosen, "rejected": row.rejected}
        known = {name: item[name] for name in REWARDS if name in item}
        found.setdefault(key_of(row), {"prompt_key": key_of(row), **words, **known})
        if len(found) == SHOWN:
            break
    return list(found.values())
