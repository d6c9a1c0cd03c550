"""One typed reader for every program: from nested mappings to frozen dataclasses.

Types and bounds are written once, on the fields. Unknown keys are refused, whole numbers may be
written as 1e4, text never counts as a number, and all that is wrong is said at once, a sentence each:
the field, its value, and what would be right.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from experiments.common.choices import near
from spac_theory.checks import InputError

T = TypeVar("T")
QUOTE = "'"
CONFIG = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


def _whole(value: Any) -> Any:
    """1e4 as 10000."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _several(value: Any) -> Any:
    """One value as a tuple of one; repetitions are dropped."""
    items = value if isinstance(value, list) else [value]
    return tuple(item for i, item in enumerate(items) if item not in items[:i])


WHOLE, SEVERAL = BeforeValidator(_whole), BeforeValidator(_several)
Natural = Annotated[int, WHOLE, Field(ge=0, le=2**63 - 1)]
Count = Annotated[int, WHOLE, Field(ge=1, le=10**6)]
Comparisons = Annotated[int, WHOLE, Field(ge=1, le=10**9)]
Positive = Annotated[float, Field(gt=0)]
Probability = Annotated[float, Field(ge=1e-9, lt=1)]  # 1 − δ must differ from 1
Share = Annotated[float, Field(ge=0, lt=1)]
AtLeastZero = Annotated[float, Field(ge=0)]
Item = TypeVar("Item")
Several = Annotated[tuple[Item, ...], SEVERAL, Field(min_length=1)]


def read(kind: type[T], values: Any, field: str = "") -> T:
    """Build `kind`, a dataclass, from a mapping; `field` is its place in the configuration.

    Raises InputError with one sentence a line.
    """
    try:
        text = json.dumps(values)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{field or 'the configuration'} holds what is no plain value: {error}."
        ) from error
    try:
        found: T = _adapter(kind).validate_json(text)
        return found
    except ValidationError as error:
        told = [_sentence(kind, field, dict(item)) for item in error.errors(include_url=False)]
        raise InputError("\n".join(dict.fromkeys(told))) from error


ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    """The reader of a type, made once; every dataclass in it learns to refuse unknown keys."""
    if kind not in ADAPTERS:
        for part in _dataclasses(kind):
            if "__pydantic_config__" not in vars(part):
                part.__pydantic_config__ = CONFIG
        ADAPTERS[kind] = TypeAdapter(kind)
    return ADAPTERS[kind]


def _dataclasses(hint: Any) -> Iterator[Any]:
    """Every dataclass inside a type."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
        for inner in typing.get_type_hints(hint).values():
            yield from _dataclasses(inner)
    for inner in typing.get_args(hint):
        yield from _dataclasses(inner)


def _walk(kind: Any, place: tuple[Any, ...]) -> tuple[list[str], Any]:
    """The names on the way to `place`, and the type there; the tags that pydantic adds are left out."""
    names, hint = [], kind
    for part in place:
        kinds = _kinds(hint)
        if len(kinds) > 1:  # the tag of a union
            hint = next((k for k in kinds if part in _tags(k)), None)
            continue
        if not isinstance(part, int):
            names.append(str(part))
        if kinds:
            hint = typing.get_type_hints(kinds[0]).get(str(part))
        else:
            inner = typing.get_args(hint)
            hint = inner[-1] if inner else None
    return names, hint


def _kinds(hint: Any) -> list[Any]:
    """The dataclasses that a type may be: itself, or members of the union."""
    union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    return [
        kind
        for kind in (typing.get_args(hint) if union else [hint])
        if dataclasses.is_dataclass(kind)
    ]


def _tags(kind: Any) -> list[Any]:
    """The values of a dataclass's literal fields."""
    return [tag for hint in typing.get_type_hints(kind).values() for tag in typing.get_args(hint)]


WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "dataclass_type": "a mapping",
    "dataclass_exact_type": "a mapping",
    "none_required": "null",
    "greater_than": "above {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "below {lt:g}",
    "less_than_equal": "at most {le:g}",
    "literal_error": "one of: {expected}",
    "union_tag_invalid": "one of: {expected_tags}",
}


def _sentence(kind: Any, field: str, error: Mapping[str, Any]) -> str:
    """One error of pydantic in the words of the house."""
    what, place, context = error["type"], tuple(error["loc"]), dict(error.get("ctx") or {})
    names = [field] * bool(field) + _walk(kind, place)[0]
    name, value = ".".join(names) or "the configuration", _short(error["input"])
    if "discriminator" in context:
        name = f"{name}.{context['discriminator'].strip(QUOTE)}"
        value = _short(context.get("tag"))
    if what in ("missing", "union_tag_not_found"):
        return f"{name} is missing from the configuration."
    if what == "unexpected_keyword_argument":
        return _unknown(kind, names, place)
    if what == "value_error":
        said = str(context["error"])
        return said if not names or said.startswith(names[0]) else f"{name}: {said}"
    if what == "too_short":
        return f"{name} is empty; it needs at least one value."
    if what in WANTED:
        listed = str(context.get("expected", "")).replace(" or ", ", ").replace(QUOTE, "")
        tags = str(context.get("expected_tags", "")).replace(QUOTE, "")
        wanted = WANTED[what].format(**{**context, "expected": listed, "expected_tags": tags})
        return f"{name} is {value}; it must be {wanted}."
    return f"{name} is {value}; {error['msg'][:1].lower()}{error['msg'][1:]}."


def _short(value: Any) -> str:
    """A value as it was written, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _unknown(kind: Any, names: list[str], place: tuple[Any, ...]) -> str:
    kinds = _kinds(_walk(kind, place[:-1])[1])
    if len(kinds) > 1:
        kinds = [k for k in kinds if place[-2] in _tags(k)]
    known = sorted(f.name for f in dataclasses.fields(kinds[0])) if kinds else []
    there = (
        f"; {'.'.join(names[:-1]) or 'the configuration'} has: {', '.join(known)}" if known else ""
    )
    return f"{'.'.join(names)} is no setting{near(names[-1], known)}{there}."
