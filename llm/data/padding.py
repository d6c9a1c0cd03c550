"""Token ids of unequal length as one rectangle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

Ids = Sequence[int]
T = TypeVar("T")


def pad(prompts: Sequence[Ids], responses: Sequence[Ids], pad_id: int) -> dict[str, Tensor]:
    """Right-pad `prompt + response`: `input_ids`, `attention_mask`, `completion_mask`, `(B, L)`."""
    starts = torch.tensor([len(p) for p in prompts]).unsqueeze(-1)
    whole = [[*p, *r] for p, r in zip(prompts, responses, strict=True)]
    ends = torch.tensor([len(row) for row in whole]).unsqueeze(-1)
    width = int(ends.max())
    ids = torch.tensor([row + [pad_id] * (width - len(row)) for row in whole])
    place = torch.arange(width)
    attention = (place < ends).long()
    completion = attention * (place >= starts)
    return {"input_ids": ids, "attention_mask": attention, "completion_mask": completion}


def by_length(texts: Sequence[Ids]) -> list[int]:
    """Places of `texts`, the longest first, so that neighbours need little padding; equals stay in order.

    A memory too small for the longest shows at once.
    """
    return sorted(range(len(texts)), key=lambda i: -len(texts[i]))


def put_back(values: Sequence[T], places: Sequence[int]) -> list[T]:
    """`values[i]` at `places[i]`, all places taken once."""
    found = dict(zip(places, values, strict=True))
    return [found[i] for i in range(len(places))]


def each_once(
    prompts: Sequence[Ids],
    responses: Sequence[Ids],
    values: Callable[[list[Ids], list[Ids]], list[float]],
) -> list[float]:
    """`values` of every prompt with its response, asked once about a sequence that occurs often."""
    places: dict[tuple[Ids, Ids], int] = {}
    index = [
        places.setdefault((tuple(p), tuple(y)), len(places))
        for p, y in zip(prompts, responses, strict=True)
    ]
    found = values([p for p, _ in places], [y for _, y in places])
    return [found[i] for i in index]
