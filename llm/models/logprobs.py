"""Sequence log-probabilities `log π(y|x)` without ever holding the full `(B, L, V)` logits.

A causal model of transformers is a *body*, which gives a hidden state at every position, and what
its own forward pass does to those states one position at a time: norm, output layer, scale,
soft-cap, bias. Nothing here knows that second part. The body runs once over the batch; the states
that predict a response token are picked out; then the model's own forward pass runs again over
`chunk` of them at a time, with the body's place taken by their states (:mod:`llm.models.bodies`). The
log-sum-exp runs in float32 (float64 for a float64 model). In training each chunk is recomputed in
the backward pass, so its logits are never stored.

A model earns this on a small batch against its own logits (:mod:`llm.models.probe`). One that treats
positions together after its body gets its full logits, one row at a time; one that is not causal is
refused.

The computation lives inside the model's own forward pass (:func:`with_logps`), because wrappers
such as distributed data parallel and `fully_shard` only act on a call of the whole model.

Router losses of mixtures of experts are no part of a log-probability, so no part of any loss here.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from llm.data.trees import Pack
from llm.models import probe
from llm.models.bodies import body_outputs, logits_of_states, own_logits
from spac_theory.checks import InputError

DEFAULT_CHUNK = 1024
SLICE = 2**22  # entries of logits whose exponentials exist at a time
ARGUMENTS = ("input_ids", "attention_mask", "completion_mask", "chunk")


def token_logps(logits: Tensor, targets: Tensor) -> Tensor:
    """`log softmax(logits)[target]`: `(N, V), (N,) -> (N,)`, at least in float32.

    Beside the logits nothing of their size is held; their gradient is one more, made in place.
    """
    picked: Any = _PickedLogps.apply
    return cast(Tensor, picked(logits, targets))


class _PickedLogps(torch.autograd.Function):
    """`logits[target] − logsumexp(logits)`, whose gradient in the logits is `1{target} − softmax`.

    It goes over a few rows at a time, so that the exponentials never lie beside all of the logits.
    """

    @staticmethod
    def forward(context: Any, logits: Tensor, targets: Tensor) -> Tensor:
        wide = torch.promote_types(logits.dtype, torch.float32)
        total = torch.cat([rows.to(wide).logsumexp(-1) for rows in _few(logits)])
        context.save_for_backward(logits, targets, total)
        return logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1).to(wide) - total

    @staticmethod
    @once_differentiable
    def backward(context: Any, weights: Tensor) -> tuple[Tensor, None]:
        logits, targets, total = context.saved_tensors
        gradient = torch.empty_like(logits)
        pieces = zip(*map(_few, (gradient, logits)), strict=True)
        start = 0
        for out, rows in pieces:
            here = slice(start, start + len(rows))
            share = (rows.to(total.dtype) - total[here, None]).exp_()
            share *= -weights[here, None]
            share.scatter_add_(-1, targets[here, None], weights[here, None])
            out.copy_(share)
            start += len(rows)
        return gradient, None


def _few(table: Tensor) -> tuple[Tensor, ...]:
    """Rows of a table in pieces of about `SLICE` entries."""
    return table.split(max(1, SLICE // max(1, table.shape[-1])))


def _recomputed(piece: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """`piece(*tensors)`, computed again in the backward pass instead of stored."""
    if torch.is_grad_enabled():
        return cast(Tensor, checkpoint(piece, *tensors, use_reentrant=False))
    return piece(*tensors)


def chunked_logps(
    head: Callable[[Tensor], Tensor], hidden: Tensor, targets: Tensor, chunk: int
) -> Tensor:
    """`token_logps(head(hidden), targets)` in pieces of `chunk` rows: `(N, d), (N,) -> (N,)`."""

    def piece(states: Tensor, ids: Tensor) -> Tensor:
        return token_logps(head(states), ids)

    if len(hidden) <= chunk:  # its logits are the first thing the backward pass wants
        return piece(hidden, targets)
    pairs = zip(torch.split(hidden, chunk), torch.split(targets, chunk), strict=True)
    return torch.cat([_recomputed(piece, states, ids) for states, ids in pairs])


def picked_logps(
    model: Any, body: str, ids: Tensor, attention: Tensor, keep: Tensor, chunk: int
) -> tuple[Tensor, Tensor]:
    """`log π` of the tokens `ids[:, 1:][keep]`, `(N,)`, `keep` bool `(B, L - 1)`; all states `(B, L, d)`."""
    outputs, states = body_outputs(model, body, ids, attention)
    hidden = states[:, :-1][keep]  # the state at position t predicts token t + 1
    head = functools.partial(logits_of_states, model, body, type(outputs))
    return chunked_logps(head, hidden, ids[:, 1:][keep], chunk), states


def packed_logps(model: Any, body: str, packed: Pack, chunk: int) -> Tensor:
    """`log π(y|x)` of every response of a pack, `(R,)`, in the order of the pack."""
    outputs, states = body_outputs(
        model, body, packed.input_ids, packed.layout, position_ids=packed.position_ids
    )
    head = functools.partial(logits_of_states, model, body, type(outputs))
    values = chunked_logps(head, states[0, packed.states], packed.targets, chunk)
    total = torch.zeros(packed.responses, dtype=values.dtype, device=values.device)
    return total.index_add(0, packed.owners, values)


def rowwise_logps(model: Any, ids: Tensor, attention: Tensor, keep: Tensor) -> Tensor:
    """The same from the model's full logits, one row of the batch at a time: exact, but slower."""

    def row(one: Tensor, seen: Tensor, kept: Tensor) -> Tensor:
        logits = own_logits(model, one[None], seen[None])[0, :-1]
        return token_logps(logits[kept], one[1:][kept])

    rows = zip(ids, attention, keep, strict=True)
    return torch.cat([_recomputed(row, *tensors) for tensors in rows])


def _summed(
    model: Any,
    input_ids: Tensor,
    attention_mask: Tensor,
    completion_mask: Tensor,
    chunk: int,
    heads: bool,
) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
    """`log π(y|x)` of each row, `(B,)`, inside the forward pass of `model`.

    With `heads` also what the model's heads (:mod:`llm.training.heads`) say of the state at its last token.
    """
    if model.logp_body is probe.UNKNOWN:
        model.logp_body = probe.find_body(model)
    keep = completion_mask[:, 1:].bool()
    if model.logp_body is None:
        values = rowwise_logps(model, input_ids, attention_mask, keep)
    else:
        values, states = picked_logps(
            model, model.logp_body, input_ids, attention_mask, keep, chunk
        )
    table = torch.zeros(keep.shape, dtype=values.dtype, device=values.device)
    total = table.masked_scatter(keep, values).sum(-1)
    if not heads:
        return total
    if model.logp_body is None:
        raise InputError("This model does not show its states, and the method has heads on them.")
    place = torch.arange(completion_mask.shape[1], device=completion_mask.device)
    last = (place * completion_mask).argmax(-1)
    ends = states[torch.arange(len(states), device=states.device), last]
    return total, {
        name: head(ends.to(head.weight.dtype)) for name, head in model.told_heads.items()
    }


def causal_model(model: nn.Module) -> nn.Module:
    """The transformers model inside a PEFT wrapper, or the model itself."""
    inner = getattr(model, "get_base_model", None)
    return cast(nn.Module, inner()) if callable(inner) else model


def with_logps(model: nn.Module) -> nn.Module:
    """Teach `model` (in place) to answer `completion_mask=` with summed log-probs; return it.

    What the log-probs rest on is checked here, against the model's own logits, or at the first call
    where the weights come later (sharded loading). Raises InputError for a model that is not causal.
    """
    base: Any = causal_model(model)
    if "logp_body" not in vars(base):
        base.logp_body = probe.find_body(base) if probe.has_weights(base) else probe.UNKNOWN
        base.forward = types.MethodType(_scoring(type(base).forward), base)
    return model


def _scoring(forward: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(forward)  # generation reads the names of its arguments
    def scoring(self: Any, *args: Any, **kwargs: Any) -> Any:
        """The forward pass, or summed log-probs when `completion_mask` or `pack` is given.

        A `question` is put to the model inside its own call, where sharded weights are gathered.
        """
        if kwargs.get("question") is not None:
            return kwargs["question"](self)
        if kwargs.get("pack") is not None:
            return packed_logps(self, self.logp_body, kwargs["pack"], kwargs["chunk"])
        if kwargs.get("completion_mask") is None:
            return forward(self, *args, **kwargs)
        # PEFT hands on every argument it knows, those that nobody gave as None.
        given = {name: kwargs[name] for name in ARGUMENTS}
        return _summed(self, **given, heads=bool(kwargs.get("heads")))

    return scoring


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
            chunk=chunk,
        ),
    )


def told_logps(
    model: nn.Module,
    input_ids: Tensor,
    attention_mask: Tensor,
    completion_mask: Tensor,
    chunk: int = DEFAULT_CHUNK,
) -> tuple[Tensor, dict[str, Tensor]]:
    """:func:`sequence_logps` and, of each of the model's heads, `(B, classes)`."""
    found = model(
        input_ids=input_ids,
        attention_mask=attention_mask,
        completion_mask=completion_mask,
        chunk=chunk,
        heads=True,
    )
    return cast(tuple[Tensor, dict[str, Tensor]], found)


def pack_logps(model: nn.Module, packed: Pack, chunk: int = DEFAULT_CHUNK) -> Tensor:
    """`log π(y|x)` of the responses of a pack, `(R,)`; :mod:`llm.models.packs` says which models can."""
    return cast(Tensor, model(pack=packed, chunk=chunk))
