"""Attention over trees by `flex_attention`: the mask of :mod:`llm.models.tree_attention` as a block mask.

Chosen by `model.attention=flex_attention`, for GPUs: blocks in which nobody sees anybody are left out, so a
pack needs no sorting by size, and capped attention is computed too. Without gradients it runs on a CPU.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from llm.models.tree_attention import is_layout, require_plain

NAME = "tree_flex"

_MASKS: Any = WeakTensorKeyDictionary()


def block_mask(layout: Tensor) -> Any:
    """Which token of a pack sees which, as a `BlockMask`; made once a pack, for all its layers."""
    from torch.nn.attention.flex_attention import create_block_mask

    if layout not in _MASKS:
        tree, branch = layout[0, 0]
        size = len(tree)

        def sees(row: Any, head: Any, asking: Any, asked: Any) -> Any:
            own = (branch[asked] == 0) | (branch[asked] == branch[asking])
            return own & (tree[asked] == tree[asking]) & (asked <= asking)

        _MASKS[layout] = create_block_mask(sees, None, None, size, size, device=layout.device)
    return _MASKS[layout]


def tree_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention of a pack or of what transformers masks itself: `query (1, H, T, D) -> (1, T, H, D)`.

    Raises InputError for a tree longer than a sliding window, and for biases instead of positions.
    """
    from transformers.integrations.flex_attention import flex_attention_forward

    if isinstance(attention_mask, Tensor) and is_layout(attention_mask):
        sizes = attention_mask[0, 0, 0].unique_consecutive(return_counts=True)[1]
        require_plain(kwargs, int(sizes.max()), ("position_bias",))
        attention_mask = block_mask(attention_mask)
    return flex_attention_forward(module, query, key, value, attention_mask, **kwargs)


def register() -> None:
    """Make `tree_flex` known to transformers, with the masks of `flex_attention` for what is no pack."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import flex_attention_mask

    AttentionInterface.register(NAME, tree_attention)
    AttentionMaskInterface.register(NAME, flex_attention_mask)
