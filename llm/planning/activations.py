"""Bytes that a training pass keeps for its gradient, counted on the meta device: no memory, no weights.

The model runs once over a few tokens, and every tensor that autograd saves is noted with the layer in
which it was saved. Attention is counted as the fused kernels keep it (query, key, value, result), never as
a square of probabilities.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from llm.models.logprobs import causal_model
from llm.models.shape import layers

TOKENS = 32
NAME = "counted"


@dataclass(frozen=True)
class Kept:
    """Bytes a token: of one layer (the largest), of all `layers`, and of what lies outside them."""

    layer: float
    layers: float
    outside: float


class _Attention(torch.autograd.Function):
    """Saves what a fused attention saves; its numbers mean nothing."""

    @staticmethod
    def forward(context: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        found = torch.empty(
            *query.shape[:-1], value.shape[-1], device=query.device, dtype=query.dtype
        )
        context.save_for_backward(query, key, value, found)
        return found


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, **_: Any
) -> tuple[Tensor, None]:
    """As attention of a pack: keys and values repeated for groups of heads, the result laid out anew."""
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (t.repeat_interleave(groups, dim=1) for t in (key, value))
    attend: Any = _Attention.apply
    found = cast(Tensor, attend(query, key, value))
    return found.transpose(1, 2).contiguous(), None


def kept(model: Any, dtype: torch.dtype) -> Kept | None:
    """What `model`, on the meta device, keeps of a token in training; None where it cannot be counted.

    A model whose code looks at numbers, such as a router's choice, cannot run there.
    """
    found: dict[int, float] = defaultdict(float)
    base = causal_model(model)
    with _as_counted(base, dtype):
        try:
            _run(base, found)
        except Exception:  # whatever foreign code asks of tensors without numbers
            return None
    outside = found.pop(-1, 0.0)
    inside = list(found.values()) or [0.0]
    return Kept(max(inside) / TOKENS, sum(inside) / TOKENS, outside / TOKENS)


@contextmanager
def _as_counted(base: Any, dtype: torch.dtype) -> Iterator[None]:
    """The model in training mode, in `dtype`, with attention that counts."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, lambda *_, **__: None)
    before = base.dtype
    base.to(dtype).train()
    base.set_attn_implementation(NAME)
    try:
        yield
    finally:
        base.to(before)


def _run(base: Any, found: dict[int, float]) -> None:
    """Add the bytes that each layer saves, number −1 for what is outside."""
    here = [-1]
    seen: dict[int, Any] = {
        t.untyped_storage()._cdata: t for t in (*base.parameters(), *base.buffers())
    }

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in seen:
            seen[storage._cdata] = storage  # kept, so that no other takes its place
            found[here[0]] += storage.nbytes()
        return tensor

    with ExitStack() as stack:
        for number, layer in enumerate(layers(base)):
            _bracket(stack, layer, here, number)
        stack.enter_context(saved_tensors_hooks(note, lambda tensor: tensor))
        ids = torch.zeros(1, TOKENS, dtype=torch.long, device="meta")
        mask = torch.zeros(1, 1, 2, TOKENS, dtype=torch.long, device="meta")  # as a pack's layout
        base.base_model(input_ids=ids, attention_mask=mask, use_cache=False)


def _bracket(stack: ExitStack, layer: nn.Module, here: list[int], number: int) -> None:
    """Set `here` to `number` while the layer runs."""

    def enter(*_: Any) -> None:
        here[0] = number

    def leave(*_: Any) -> None:
        here[0] = -1

    stack.callback(layer.register_forward_pre_hook(enter).remove)
    stack.callback(layer.register_forward_hook(leave).remove)
