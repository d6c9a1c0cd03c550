"""A device that any machine has: tensors on the processor that behave as if they were elsewhere.

Inside :class:`Pretended`, tensors made with `device=THERE` (or under `torch.device(THERE)`) are marked.
As on a real device, marked and plain tensors do not mix, unless the plain one is a single number or an
index, and a marked one is no array of NumPy's. What is computed from marked tensors is marked.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors
from torch.utils._pytree import tree_flatten, tree_map

THERE = torch.device("cuda:0")
DEVICE = Tensor.device.__get__  # type: ignore[attr-defined]
INDEXING = {Tensor.__getitem__, Tensor.__setitem__}


class Marked(Tensor):
    """A tensor that is there."""


class TwoDevices(RuntimeError):
    """Tensors of two devices in one operation."""


def plain(value: Any) -> Any:
    return value.as_subclass(Tensor) if isinstance(value, Marked) else value


def marked(value: Any) -> Any:
    """The tensor there; one that was made to be trained stays a leaf."""
    if not isinstance(value, Tensor) or isinstance(value, Marked):
        return value
    leaf = value.requires_grad and value.is_leaf
    return (
        value.detach().as_subclass(Marked).requires_grad_() if leaf else value.as_subclass(Marked)
    )


def is_there(device: Any) -> bool:
    return device is not None and torch.device(device).type == THERE.type


class Pretended(TorchFunctionMode):
    """The machine has the device `THERE`."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, Tensor)]
        there = any(isinstance(t, Marked) for t in tensors)
        if func == DEVICE:  # a method wrapper is made anew each time
            return THERE if there else torch.device("cpu")
        with torch._C.DisableTorchFunctionSubclass():
            if func is Tensor.cpu or func is Tensor.numpy:
                if func is Tensor.numpy and there and not kwargs.get("force", False):
                    raise TypeError("can't convert a tensor that is there to numpy")
                return func(plain(args[0]), **kwargs)
            if func is Tensor.to:
                return self._to(there, args, kwargs)
            if func in _device_constructors():
                return self._made(func, args, kwargs)
            self._check(func, args, tensors, there)
            answer = func(*args, **self._stay(kwargs))
            return tree_map(marked, answer) if there else answer

    def _stay(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Options with the device of which the processor knows."""
        return {
            k: torch.device("cpu") if k == "device" and is_there(v) else v
            for k, v in kwargs.items()
        }

    def _to(self, there: bool, args: Any, kwargs: Any) -> Any:
        where = kwargs.pop("device", None)
        rest = [a for a in args[1:] if not isinstance(a, torch.device | str | Tensor)]
        for a in args[1:]:
            where = a if isinstance(a, torch.device | str) else where
            if isinstance(a, Tensor):
                where, rest = (THERE if isinstance(a, Marked) else "cpu"), [*rest, plain(a).dtype]
        answer = plain(args[0])
        if rest or kwargs:
            answer = answer.to(*rest, **kwargs)
        gone = there if where is None else is_there(where)
        return (
            marked(answer.clone()) if gone and not there else (marked(answer) if gone else answer)
        )

    def _made(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        where = kwargs.get("device")
        answer = func(*tree_map(plain, args), **self._stay(kwargs))
        return marked(answer) if is_there(where) else answer

    def _check(self, func: Any, args: Any, tensors: list[Tensor], there: bool) -> None:
        """As CUDA does: plain numbers may join, plain indices may pick, nothing else."""
        mixed = there and any(not isinstance(t, Marked) and t.ndim > 0 for t in tensors)
        index = func in INDEXING and isinstance(args[0], Marked)
        if func is Tensor.__setitem__ and isinstance(args[2], Tensor):
            index = index and (isinstance(args[2], Marked) or args[2].ndim == 0)
        if func in INDEXING and not isinstance(args[0], Marked) and there:
            raise TwoDevices(f"{func}: a tensor here is indexed by one there")
        if mixed and not index:
            raise TwoDevices(f"{getattr(func, '__name__', func)}: tensors here and there")
