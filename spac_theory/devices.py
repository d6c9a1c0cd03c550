"""Where the arithmetic is done: solvers and algorithms work on the device of the tensors they are given.

Functions that make tensors of their own make them there too: the public solvers and every `fit` run
under :func:`beside`. :func:`on_device` takes an algorithm to a device and brings its answer back, so that
whoever draws the data and judges the fit need not know.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from spac_theory.checks import InputError, shown

F = TypeVar("F", bound=Callable[..., Any])
CPU = torch.device("cpu")


def find_device(name: Any, field: str = "device") -> torch.device:
    """The device of this name; InputError for one that this machine does not have."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
        count = torch.cuda.device_count()
        here = ", ".join(["cpu", *(f"cuda:{i}" for i in range(count))])
        raise InputError(
            f"{field} is {shown(name)}, which this machine does not have; it has {here}."
        ) from error
    return device


def under(device: torch.device) -> AbstractContextManager[Any]:
    """Tensors made without a device are made on this one."""
    return nullcontext() if device.type == "cpu" else device


def beside(find: Callable[..., Tensor]) -> Callable[[F], F]:
    """Let a function make its tensors where the tensor that `find` picks of its arguments is."""

    def wrap(function: F) -> F:
        @functools.wraps(function)
        def inner(*args: Any, **options: Any) -> Any:
            with under(find(*args, **options).device):
                return function(*args, **options)

        return cast(F, inner)

    return wrap


def moved(thing: Any, device: torch.device) -> Any:
    """A copy of tensors, and of lists, dictionaries and dataclasses that hold some, on a device."""
    if isinstance(thing, Tensor):
        return thing.to(device)
    if isinstance(thing, list | tuple):
        return type(thing)(moved(each, device) for each in thing)
    if isinstance(thing, dict):
        return {key: moved(each, device) for key, each in thing.items()}
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        other = copy.copy(thing)
        for name, value in vars(thing).items():
            object.__setattr__(other, name, moved(value, device))
        return other
    return thing


class Remote:
    """Something that stays on the processor, asked from a device: answers come back there."""

    def __init__(self, thing: Any, device: torch.device) -> None:
        self._thing, self._device = thing, device

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._thing, name)
        if callable(value):

            def call(*args: Any, **options: Any) -> Any:
                with CPU:
                    answer = value(*moved(args, CPU), **moved(options, CPU))
                return moved(answer, self._device)

            return call
        plain = value is None or isinstance(value, bool | int | float | str)
        if plain or isinstance(value, Tensor) or dataclasses.is_dataclass(value):
            return moved(value, self._device)
        return Remote(value, self._device)


class OnDevice:
    """An algorithm whose arithmetic is done on a device; view, data and answer are on the processor."""

    def __init__(self, algorithm: Any, device: torch.device) -> None:
        self.algorithm, self.device = algorithm, device

    def skip(self, view: Any, oracle: Any) -> str | None:
        """What the algorithm says."""
        reason: str | None = self.algorithm.skip(view, oracle)
        return reason

    def fit(self, view: Any, data: Any, oracle: Any = None) -> Any:
        """The fit of the algorithm there, brought back."""
        asked = None if oracle is None else Remote(oracle, self.device)
        with under(self.device):
            fit = self.algorithm.fit(moved(view, self.device), moved(data, self.device), asked)
        rule = getattr(fit.policy, "rule", None)
        fit = moved(fit, CPU)
        if rule is not None:
            fit = dataclasses.replace(
                fit, policy=dataclasses.replace(fit.policy, rule=self._brought(rule))
            )
        return fit

    def _brought(self, rule: Callable[[Any], Tensor]) -> Callable[[Any], Tensor]:
        """The rule of a policy for contexts on the processor."""

        def brought(contexts: Any) -> Tensor:
            with under(self.device):
                return rule(moved(contexts, self.device)).cpu()

        return brought


def on_device(algorithm: Any, device: torch.device) -> Any:
    """The algorithm at work on a device; on the processor, itself."""
    return algorithm if device.type == "cpu" else OnDevice(algorithm, device)
