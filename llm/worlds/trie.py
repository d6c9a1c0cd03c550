"""Responses as the tree of their beginnings, and a model's log-probs of all of them in one pass over it.

The pass goes level by level: a beginning is read once, however many responses share it, with the keys and
values of what comes before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Level:
    """Beginnings of one length: `token (M,)`, and `parent (M,)` among those that were read before.

    `ends (E, 2)`: which of them is which response; `inner`: those that go on and are read.
    """

    token: Tensor
    parent: Tensor
    ends: Tensor
    inner: Tensor


def levels_of(responses: Sequence[Sequence[int]]) -> list[Level]:
    """The tree of `responses`, from first tokens to last."""
    levels = []
    before: dict[tuple[int, ...], int] = {(): 0}
    for length in range(1, max(map(len, responses)) + 1):
        here: dict[tuple[int, ...], int] = {}
        ends, inner = [], dict[int, tuple[int, ...]]()
        for number, response in enumerate(responses):
            if len(response) >= length:
                start = tuple(response[:length])
                place = here.setdefault(start, len(here))
                if len(response) == length:
                    ends.append((place, number))
                else:
                    inner[place] = start
        read = sorted(inner)
        levels.append(
            Level(
                torch.tensor([start[-1] for start in here]),
                torch.tensor([before[start[:-1]] for start in here]),
                torch.tensor(ends, dtype=torch.long).view(-1, 2),
                torch.tensor(read, dtype=torch.long),
            )
        )
        before = {inner[place]: i for i, place in enumerate(read)}
    return levels


@torch.no_grad()
def tree_logps(model: Any, prompt: Sequence[int], levels: Sequence[Level], count: int) -> Tensor:
    """`log π(y|x)` of all `count` responses at one prompt, `(A,)` float64."""
    device = next(model.parameters()).device
    out = model(input_ids=torch.tensor([list(prompt)], device=device), use_cache=True)
    total = torch.zeros(1, dtype=torch.float64)
    found = torch.empty(count, dtype=torch.float64)
    for depth, level in enumerate(levels):
        steps = _log_softmax(out.logits[:, -1])
        total = total[level.parent] + steps[level.parent, level.token]
        found[level.ends[:, 1]] = total[level.ends[:, 0]]
        if len(level.inner):
            cache, inner = out.past_key_values, level.inner.to(device)
            cache.batch_select_indices(level.parent.to(device)[inner])
            out = model(
                input_ids=level.token.to(device)[inner, None],
                past_key_values=cache,
                position_ids=torch.full((len(inner), 1), len(prompt) + depth, device=device),
                use_cache=True,
            )
            total = total[level.inner]
    return found


def _log_softmax(logits: Tensor) -> Tensor:
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return wide.log_softmax(-1).double().cpu()
