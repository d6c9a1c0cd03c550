"""Attention over trees: one prompt, computed once, and responses as branches blind to each other.

A pack lists the tokens of several trees one behind the other, `(1, T)`. Its layout `(1, 1, 2, T)` says of
each token the tree it belongs to and its branch in it: 0 the prompt, 1 … the responses. A token sees the
earlier tokens of its own tree that are prompt or of its own branch: what it would see if prompt and response
stood alone. Positions restart after the prompt in each branch, so that rotary embeddings agree too.

Transformers hands a four-dimensional `attention_mask` to its attention function as it is; the layout travels
in its place, also through recomputed activations and sharded models. Any other mask is answered as `sdpa`
answers it, so that the same model still generates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.weak import WeakTensorKeyDictionary

from spac_theory.checks import InputError

NAME = "tree"

Group = tuple[int, int, Tensor]
_FORESTS: Any = WeakTensorKeyDictionary()


@dataclass(frozen=True)
class Forest:
    """Groups of `n` trees of `L` tokens with their masks `(n, L, L)`; `order (T,)` sorts tokens by group.

    `biases` are the masks as numbers, by dtype: the kernels want them so, and every layer shares them.
    """

    groups: tuple[Group, ...]
    order: Tensor
    back: Tensor
    biases: dict[torch.dtype, list[Tensor]] = field(default_factory=dict)

    def biased(self, dtype: torch.dtype) -> list[Tensor]:
        """Per group 0 where a token is seen and −∞ where it is not, `(n, 1, L, L)`."""
        if dtype not in self.biases:
            self.biases[dtype] = [
                torch.zeros(mask.shape, dtype=dtype, device=mask.device)
                .masked_fill_(~mask, -torch.inf)
                .unsqueeze(1)
                for _, _, mask in self.groups
            ]
        return self.biases[dtype]


def visible(branch: Tensor) -> Tensor:
    """Which token of a tree sees which: branches `(…, L) -> (…, L, L)` bool, rows see columns."""
    size = branch.shape[-1]
    earlier = torch.ones(size, size, dtype=torch.bool, device=branch.device).tril()
    asking, asked = branch.unsqueeze(-1), branch.unsqueeze(-2)
    return earlier & ((asking == asked) | (asked == 0))


def forest(layout: Tensor) -> Forest:
    """The trees of a layout, those of one size together; computed once a pack."""
    if layout not in _FORESTS:
        tree, branch = layout[0, 0]
        sizes = torch.unique_consecutive(tree, return_counts=True)[1]
        starts = sizes.cumsum(0) - sizes
        groups, order = list[Group](), list[Tensor]()
        for size in sizes.unique().tolist():
            places = starts[sizes == size, None] + torch.arange(size, device=layout.device)
            groups.append((*places.shape, visible(branch[places])))
            order.append(places.flatten())
        _FORESTS[layout] = Forest(tuple(groups), torch.cat(order), torch.cat(order).argsort())
    return cast(Forest, _FORESTS[layout])


def is_layout(mask: Tensor | None) -> bool:
    """Whether a mask is the layout of a pack: whole numbers in two rows."""
    return mask is not None and mask.dtype == torch.int64 and mask.ndim == 4 and mask.shape[2] == 2


def tree_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of a pack, tree by tree: `query (1, H, T, D)`, layout as the mask `-> (1, T, H, D)`.

    Raises InputError for attention that is capped, biased or shorter than a tree: not this one.
    """
    if not is_layout(attention_mask):
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    assert attention_mask is not None
    trees = forest(attention_mask)
    require_plain(kwargs, max(size for _, size, _ in trees.groups))
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (t.repeat_interleave(groups, dim=1) for t in (key, value))
    dropout = kwargs.get("dropout", 0.0) if module.training else 0.0
    sizes = [n * size for n, size, _ in trees.groups]
    parts = zip(
        trees.groups,
        trees.biased(query.dtype),
        *(t[0][:, trees.order].split(sizes, dim=1) for t in (query, key, value)),
        strict=True,
    )
    pieces = []
    for (n, size, _), bias, *heads in parts:
        q, k, v = (t.unflatten(1, (n, size)).transpose(0, 1) for t in heads)
        found = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=bias, dropout_p=dropout, scale=kwargs.get("scaling")
        )
        pieces.append(found.transpose(1, 2).flatten(0, 1))
    return torch.cat(pieces)[trees.back][None].contiguous(), None


def require_plain(
    kwargs: dict[str, Any],
    longest: int,
    extras: Sequence[str] = ("softcap", "position_bias", "s_aux"),
) -> None:
    """Refuse a sliding window below the `longest` tree, and the `extras` an attention cannot compute."""
    for extra in extras:
        if kwargs.get(extra) is not None:
            raise InputError(
                f"train.packing is on and the model's attention has a {extra}; set it to false."
            )
    window = kwargs.get("sliding_window")
    if window is not None and longest > window:
        raise InputError(
            f"train.packing is on and a row of {longest} tokens is longer than the model's sliding window of "
            f"{window}; set train.packing=false, or shorten data.max_length."
        )


def register() -> None:
    """Make `tree` known to transformers: its attention, and the masks of `sdpa` for what is no pack."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, tree_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
