"""Decoding with two policies: every token from a function of both their logits.

The second policy reads prompts of its own and the tokens that are generated, with a key-value cache of its
own: two forward passes a token. It is a logits processor of transformers, so whatever generates can use it.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

Combine = Callable[[Tensor, Tensor], Tensor]
Policy = contextlib.AbstractContextManager[Any]


def left_padded(prompts: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Token ids and mask of prompts that all end in the last column, `(B, L)` each."""
    width = max(len(p) for p in prompts)
    ids = torch.tensor([[pad_id] * (width - len(p)) + list(p) for p in prompts])
    lengths = torch.tensor([len(p) for p in prompts]).unsqueeze(-1)
    return ids, (torch.arange(width) >= width - lengths).long()


def forward(model: Any, ids: Tensor, mask: Tensor, past: Any) -> Any:
    """One step of a causal model after left-padded prompts; places are counted without the padding."""
    extra: dict[str, Any] = {}
    if "position_ids" in inspect.signature(type(model).forward).parameters:
        places = (mask.cumsum(-1) - 1).clamp_min(0)
        extra["position_ids"] = places[:, -ids.shape[1] :]
    return model(input_ids=ids, attention_mask=mask, past_key_values=past, use_cache=True, **extra)


class Mixed(LogitsProcessor):
    """`combine(logits of the generating policy, logits of the second)` of the next token.

    `second()` lends the second policy for a step; it reads `prompts`, each repeated `samples` times as
    `generate` does with `num_return_sequences`. One object serves one call of `generate`, without beams.
    """

    def __init__(
        self,
        second: Callable[[], Policy],
        prompts: Sequence[Sequence[int]],
        samples: int,
        pad_id: int,
        combine: Combine,
    ) -> None:
        self.second, self.combine = second, combine
        ids, mask = left_padded(prompts, pad_id)
        self.ids = ids.repeat_interleave(samples, 0)
        self.mask = mask.repeat_interleave(samples, 0)
        self.past: Any = None

    @torch.no_grad()
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The combined scores of the token after `input_ids`."""
        if self.past is None:
            ids = self.ids.to(input_ids.device)
            self.mask = self.mask.to(input_ids.device)
        else:
            ids = input_ids[:, -1:]
            self.mask = torch.cat([self.mask, torch.ones_like(self.mask[:, :1])], -1)
        with self.second() as model:
            out = forward(model, ids, self.mask, self.past)
        self.past = out.past_key_values
        return self.combine(scores.float(), out.logits[:, -1].float())
