"""One-sentence refusals of bad input, shared by everything that accepts data from outside.

Every check raises :class:`InputError` with a sentence that names the field, the offending value and
what would be right. Checks run before any work starts, so nothing is left half done.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

SIMPLEX_TOLERANCE = 1e-9
Interval = tuple[float, float]


class InputError(ValueError):
    """Bad input from outside; its message is one sentence with the field, the value and a remedy."""


class NotANumber(ArithmeticError):
    """A result that is no number where one was promised; its sentence names the field and the data set."""


def is_number(field: str, tensor: Tensor | None) -> None:
    """Refuse a result with a NaN, naming the first entry; an infinite bound is a number here.

    Raises NotANumber, and InputError for what is no tensor.
    """
    if tensor is not None and not isinstance(tensor, Tensor):
        raise InputError(f"{field} is {shown(tensor)}; it must be a tensor.")
    if tensor is None or not bool((bad := torch.isnan(tensor)).any()):
        return
    where = [int(i) for i in bad.nonzero()[0]]
    raise NotANumber(
        f"{field}{where} is NaN in {int(bad.sum())} of {tensor.numel()} entries; "
        "the computation failed there, so nothing is certified (is the data finite and λ in range?)."
    )


def shown(value: Any) -> str:
    """A value as a refusal writes it: on one line, and cut where it is long."""
    if isinstance(value, int) and abs(value) >= 10**60:
        return "a whole number of more than 60 digits"
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:59]}…"


def is_real(value: Any) -> bool:
    """Whether `value` is one real number; true and false, times and complex numbers are none."""
    kinds = (int, float, np.integer, np.floating)
    return isinstance(value, kinds) and not isinstance(value, bool | np.timedelta64)


def as_tensor(field: str, value: Any, shape: Sequence[int | None]) -> Tensor:
    """Return `value` as a finite float64 tensor of `shape` (None matches any size).

    Raises InputError for a wrong shape, for values that are no numbers, and for NaN or infinities.
    """
    try:
        array = value if isinstance(value, Tensor) else torch.as_tensor(np.array(value))
        if array.is_complex():
            raise TypeError("complex numbers have no order")
        tensor = array.to(torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise InputError(f"{field} must be an array of numbers, got {shown(value)}.") from error
    sizes = ["any" if s is None else str(s) for s in shape]
    expected = f"({sizes[0]},)" if len(sizes) == 1 else "(" + ", ".join(sizes) + ")"
    fits = tensor.ndim == len(shape) and all(
        want is None or have == want for have, want in zip(tensor.shape, shape, strict=False)
    )
    if not fits:
        raise InputError(f"{field} has shape {tuple(tensor.shape)}; it must have shape {expected}.")
    finite(field, tensor)
    return tensor


def lanes(field: str, value: Any, count: int) -> Tensor:
    """Return a number, or one a data set, as a finite float64 tensor `(count,)`.

    Raises InputError for another shape and for what is no number.
    """
    single = [value] if is_real(value) or getattr(value, "ndim", 1) == 0 else value
    tensor = as_tensor(field, single, (None,))
    return tensor.expand(count) if len(tensor) == 1 else as_tensor(field, tensor, (count,))


def finite(field: str, tensor: Tensor) -> None:
    """Refuse NaN and infinities, naming the first offending entry."""
    bad = ~torch.isfinite(tensor)
    if bad.any():
        where = tuple(int(i) for i in bad.nonzero()[0])
        raise InputError(
            f"{field}{list(where)} is {float(tensor[where])}; every entry must be a finite number."
        )


def simplex(field: str, tensor: Tensor) -> None:
    """Refuse anything but probability vectors along the last axis."""
    finite(field, tensor)
    if (tensor < 0).any():
        raise InputError(
            f"{field} contains the negative probability {float(tensor.min()):.6g}; "
            "probabilities must be at least 0."
        )
    error = (tensor.sum(-1) - 1).abs()
    if error.numel() and float(error.max()) > SIMPLEX_TOLERANCE:
        total = float(tensor.sum(-1).flatten()[error.flatten().argmax()])
        raise InputError(
            f"{field} sums to {total:.9g} along its last axis; probabilities must sum to 1 "
            f"to {SIMPLEX_TOLERANCE:g} (convert to float64 first, then divide by the sum)."
        )


def probabilities(
    field: str, value: Any, shape: Sequence[int | None], rounding: float = 0.0
) -> Tensor:
    """Return probability vectors along the last axis as float64.

    What sums to 1 within `rounding`, or within the precision of the type it came in (float32, say), is
    divided by its sum; anything else must sum to 1 to 1e-9. Raises InputError otherwise.
    """
    tensor = as_tensor(field, value, shape)
    given = getattr(value, "dtype", None)
    given = torch.as_tensor(np.empty(0, given)).dtype if isinstance(given, np.dtype) else given
    if isinstance(given, torch.dtype) and given.is_floating_point and given != torch.float64:
        rounding = max(rounding, tensor.shape[-1] * torch.finfo(given).eps)
    total = tensor.sum(-1, keepdim=True)
    exact = tensor / torch.where((total - 1).abs() <= rounding, total, 1.0)
    simplex(field, exact)
    return exact


def number(
    field: str,
    value: Any,
    *,
    low: float = -np.inf,
    high: float = np.inf,
    open_low: bool = False,
    open_high: bool = False,
    infinite: bool = False,
) -> float:
    """Return `value` as a float inside the interval, or refuse it with the interval in words.

    An infinite value is refused unless `infinite` is set.
    """
    open_low = open_low or (np.isinf(low) and not infinite)
    open_high = open_high or (np.isinf(high) and not infinite)
    left, right = "(" if open_low else "[", ")" if open_high else "]"
    interval = f"a number in {left}{low:g}, {high:g}{right}"
    if not is_real(value) or (isinstance(value, int) and abs(value) >= 10**300):
        raise InputError(f"{field} is {shown(value)}; it must be {interval}.")
    x = float(value)
    above = x > low if open_low else x >= low
    below = x < high if open_high else x <= high
    if np.isnan(x) or not (above and below):
        raise InputError(f"{field} is {x:g}; it must be {interval}.")
    return x


def integer(field: str, value: Any, *, low: int = 0, high: int | None = None) -> int:
    """Return `value` as an int with low <= value (<= high), or refuse it."""
    limits = f"a whole number of at least {low}" + ("" if high is None else f" and at most {high}")
    whole = is_real(value) and (isinstance(value, int) or float(value).is_integer())
    if not whole or int(value) < low or (high is not None and int(value) > high):
        raise InputError(f"{field} is {shown(value)}; it must be {limits}.")
    n = int(value)
    return n


def interval(field: str, value: Any, *, low: float = -np.inf, high: float = np.inf) -> Interval:
    """Return `value` as a pair of floats in [low, high], the first below the second, or refuse it."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise InputError(f"{field} is {shown(value)}; it must be a pair (low, high) or None.")
    left, right = (number(field, end, low=low, high=high) for end in value)
    if left >= right:
        raise InputError(f"{field} is ({left:g}, {right:g}); low must be below high.")
    return left, right


def choice(field: str, value: Any, allowed: Iterable[str]) -> str:
    """Return `value` if it is one of `allowed`, else refuse it and list what exists."""
    names = sorted(allowed)
    if not isinstance(value, str) or value not in names:
        raise InputError(f"{field} is {shown(value)}; it must be one of: {', '.join(names)}.")
    return str(value)


# --- a short repr: what a thing is and the shapes in it, never its numbers ----------------------


def brief(thing: Any) -> str:
    """`Name(field=value, ...)` in one line: tensors by their shape, fields that hold nothing left out."""
    shown = []
    for field in dataclasses.fields(thing):
        value = getattr(thing, field.name)
        if field.repr and value is not None and value != {}:
            shown.append(f"{field.name}={_short(value)}")
    return f"{type(thing).__name__}({', '.join(shown)})"


def _short(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"<{' × '.join(map(str, value.shape)) or 'number'}>"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_short(part)}" for key, part in value.items()) + "}"
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:119]}…"
