"""A short `repr`: what a thing is and the shapes in it, never its numbers."""

from __future__ import annotations

import dataclasses
from typing import Any


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
