"""Running the two parts of a causal model apart: its body, and what its forward does to states.

For the time of one call the body is replaced, in the module that holds it, by a stand-in. The rest
is the model's own forward pass, whatever that does: no architecture is named here.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn


def own_logits(model: Any, ids: Tensor, attention: Tensor) -> Tensor:
    """The logits of the model's own forward pass: `(B, L), (B, L) -> (B, L, V)`."""
    return cast(Tensor, _forward(model, ids, attention).logits)


def _forward(model: Any, ids: Tensor, attention: Tensor, **more: Any) -> Any:
    given = {"attention_mask": attention, "use_cache": False, "return_dict": True, **more}
    names = inspect.signature(type(model).forward).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in names.values())
    known = {k: v for k, v in given.items() if takes_all or k in names}
    return type(model).forward(model, input_ids=ids, **known)


def body_outputs(
    model: Any, body: str, ids: Tensor, attention: Tensor, **more: Any
) -> tuple[Any, Tensor]:
    """What the module at path `body` returns in the model's forward pass, and its states `(B, L, d)`.

    `more` are further arguments of the forward pass. The rest of it gets a single state, so next to
    nothing is spent on logits.
    """
    with _replaced(model, body, _Listening) as stand_in:
        _forward(model, ids, attention, **more)
    return stand_in.outputs, _states(stand_in.outputs)


def logits_of_states(model: Any, body: str, kind: Any, states: Tensor) -> Tensor:
    """What the model's forward pass makes of `states` alone: `(N, d) -> (N, V)`.

    `kind` is the type in which the body returns its states.
    """
    ids = torch.zeros(1, len(states), dtype=torch.long, device=states.device)
    with _replaced(model, body, _Answering) as stand_in:
        stand_in.outputs = _packed(kind, states[None])
        logits = own_logits(model, ids, torch.ones_like(ids))
    return logits.reshape(len(states), logits.shape[-1])


def _states(outputs: Any) -> Tensor:
    return cast(Tensor, outputs if isinstance(outputs, Tensor) else outputs[0])


def _packed(kind: Any, states: Tensor) -> Any:
    """`states` as a body returns them: a tensor, a tuple or a `ModelOutput`."""
    if issubclass(kind, Tensor):
        return states
    return (states,) if kind is tuple else kind(states)


class _StandIn(nn.Module):
    """Takes the place of a body; every attribute but its call is the body's own."""

    outputs: Any

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def __getattr__(self, name: str) -> Any:
        body = self.__dict__["_modules"]["body"]
        return body if name == "body" else getattr(body, name)


class _Listening(_StandIn):
    """Runs the body, keeps what it returns, and passes on the first state alone."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.outputs = self.body(*args, **kwargs)
        return _packed(type(self.outputs), _states(self.outputs)[:1, :1])


class _Answering(_StandIn):
    """Answers with prepared outputs instead of running the body."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.outputs


@contextmanager
def _replaced(model: nn.Module, body: str, kind: type[_StandIn]) -> Iterator[_StandIn]:
    parent, _, name = body.rpartition(".")
    owner = model.get_submodule(parent)
    real = owner.get_submodule(name)
    stand_in = kind(real)
    owner._modules[name] = stand_in
    try:
        yield stand_in
    finally:
        owner._modules[name] = real


def outermost_calls(model: Any, ids: Tensor, attention: Tensor) -> tuple[list[str], Tensor]:
    """The paths of the modules that the forward pass itself calls, in order, and its logits."""
    inside: list[str] = []
    called: list[str] = []
    handles = []
    for path, module in model.named_modules():
        if module is not model:
            enter, leave = _watching(path, inside, called)
            handles += [module.register_forward_pre_hook(enter)]
            handles += [module.register_forward_hook(leave)]
    try:
        logits = own_logits(model, ids, attention)
    finally:
        for handle in handles:
            handle.remove()
    return called, logits


def _watching(path: str, inside: list[str], called: list[str]) -> tuple[Any, Any]:
    def enter(module: nn.Module, args: Any) -> None:
        if not inside:
            called.append(path)
        inside.append(path)

    def leave(module: nn.Module, args: Any, outputs: Any) -> None:
        inside.pop()

    return enter, leave
