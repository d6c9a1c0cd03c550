"""Sequence log-probabilities `log π(y|x)` without ever holding the full `(B, L, V)` logits.

The hidden states of response positions are picked out first, then the output layer is applied to
`chunk` of them at a time. The log-sum-exp runs in float32 (float64 for a float64 model). In
training each chunk is recomputed in the backward pass, so its logits are never stored.

The computation lives inside the model's own forward pass (:func:`with_logps`), because wrappers
such as distributed data parallel and `fully_shard` only act on a call of the whole model.
"""

from __future__ import annotations

import types
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

DEFAULT_CHUNK = 1024


def token_logps(logits: Tensor, targets: Tensor) -> Tensor:
    """`log softmax(logits)[target]`: `(N, V), (N,) -> (N,)`, at least in float32."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    picked = wide.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return picked - wide.logsumexp(-1)


def chunked_logps(head: nn.Module, hidden: Tensor, targets: Tensor, chunk: int) -> Tensor:
    """`token_logps(head(hidden), targets)` in pieces of `chunk` rows: `(N, d), (N,) -> (N,)`."""

    def piece(states: Tensor, ids: Tensor) -> Tensor:
        return token_logps(head(states), ids)

    pieces = []
    for states, ids in zip(torch.split(hidden, chunk), torch.split(targets, chunk), strict=True):
        if torch.is_grad_enabled():
            pieces.append(checkpoint(piece, states, ids, use_reentrant=False))
        else:
            pieces.append(piece(states, ids))
    return torch.cat(pieces)


def _forward(self: Any, *args: Any, **kwargs: Any) -> Any:
    """The model's forward pass, or summed response log-probs when `completion_mask` is given."""
    mask = kwargs.pop("completion_mask", None)
    chunk = kwargs.pop("logp_chunk", DEFAULT_CHUNK)
    if mask is None:
        return type(self).forward(self, *args, **kwargs)
    ids = kwargs["input_ids"]
    outputs = self.model(input_ids=ids, attention_mask=kwargs["attention_mask"], use_cache=False)
    keep = mask[:, 1:].bool()  # the state at position t predicts token t + 1
    hidden = outputs.last_hidden_state[:, :-1][keep]
    values = chunked_logps(self.get_output_embeddings(), hidden, ids[:, 1:][keep], chunk)
    table = torch.zeros(keep.shape, dtype=values.dtype, device=values.device)
    return table.masked_scatter(keep, values).sum(-1)


def causal_model(model: nn.Module) -> nn.Module:
    """The transformers model inside a PEFT wrapper, or the model itself."""
    inner = getattr(model, "get_base_model", None)
    return cast(nn.Module, inner()) if callable(inner) else model


def with_logps(model: nn.Module) -> nn.Module:
    """Teach `model` (in place) to answer `completion_mask=` with summed log-probs; return it."""
    base = causal_model(model)
    base.forward = types.MethodType(_forward, base)
    return model


def sequence_logps(
    model: nn.Module,
    input_ids: Tensor,
    attention_mask: Tensor,
    completion_mask: Tensor,
    chunk: int = DEFAULT_CHUNK,
) -> Tensor:
    """`log π(y|x)` of each row: three `(B, L)` tensors `-> (B,)`.

    `completion_mask` is 1 on the tokens of `y` (its end-of-sequence token included where the sample
    stopped) and 0 on prompt and padding. `model` must have passed :func:`with_logps`.
    """
    return cast(
        Tensor,
        model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            completion_mask=completion_mask,
            logp_chunk=chunk,
        ),
    )
