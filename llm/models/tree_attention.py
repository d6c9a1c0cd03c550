"""Attention over trees: one prompt, computed once, and responses as branches blind to each other.

A pack lists the tokens of several trees one behind the other, `(1, T)`. Its layout `(1, 1, 2, T)` says of
each token the tree it belongs to and its branch in it: 0 the prompt, 1 … the responses. A token sees the
earlier tokens of its own tree that are prompt or of its own branch: what it would see if prompt and response
stood alone. Positions restart after the prompt in each branch, so that rotary embeddings agree too.

Transformers hands a four-dimensional `attention_mask` to its attention function as it is; the layout travels
in its place, also through recomputed activations and sharded models. On a CPU :func:`tree_attention` computes
each tree apart; on a GPU :func:`block_mask` makes the mask of `flex_attention` once a pack.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.weak import WeakTensorKeyDictionary

NAME = "tree"

Spans = list[tuple[int, int, Tensor]]
_SPANS: Any = WeakTensorKeyDictionary()


def visible(layout: Tensor) -> Tensor:
    """Which token sees which: layout `(2, T) -> (T, T)` bool, rows see columns."""
    tree, branch = layout
    size = tree.shape[-1]
    earlier = torch.ones(size, size, dtype=torch.bool, device=layout.device).tril()
    own = (branch[:, None] == branch) | (branch == 0)
    return earlier & own & (tree[:, None] == tree)


def spans(layout: Tensor) -> Spans:
    """Start, end and mask `(L, L)` of every tree of a layout; computed once a pack."""
    if layout not in _SPANS:
        rows = layout[0, 0]
        ends = torch.unique_consecutive(rows[0], return_counts=True)[1].cumsum(0).tolist()
        starts = [0, *ends[:-1]]
        _SPANS[layout] = [(a, b, visible(rows[:, a:b])) for a, b in zip(starts, ends, strict=True)]
    return cast(Spans, _SPANS[layout])


def tree_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of a pack, tree by tree: `query (1, H, T, D)`, layout as the mask `-> (1, T, H, D)`.

    Raises NotImplementedError for a model whose attention is capped or biased, which this one is not.
    """
    for extra in ("softcap", "position_bias", "s_aux"):
        if kwargs.get(extra) is not None:
            raise NotImplementedError(f"tree attention has no {extra}")
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (t.repeat_interleave(groups, dim=1) for t in (key, value))
    pieces = [
        functional.scaled_dot_product_attention(
            query[:, :, a:b],
            key[:, :, a:b],
            value[:, :, a:b],
            attn_mask=mask,
            dropout_p=dropout if module.training else 0.0,
            scale=scaling,
        )
        for a, b, mask in spans(attention_mask)
    ]
    return torch.cat(pieces, dim=2).transpose(1, 2).contiguous(), None


def block_mask(layout: Tensor) -> Any:
    """The layout as a block mask of `flex_attention`, for one pack."""
    from torch.nn.attention.flex_attention import create_block_mask

    tree, branch = layout[0, 0]
    size = tree.shape[-1]

    def sees(b: Tensor, h: Tensor, row: Tensor, column: Tensor) -> Tensor:
        own = (branch[row] == branch[column]) | (branch[column] == 0)
        return (row >= column) & own & (tree[row] == tree[column])

    return create_block_mask(sees, 1, 1, size, size, device=str(layout.device))


def register() -> None:
    """Make `tree` known to transformers as an attention implementation."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, tree_attention)
