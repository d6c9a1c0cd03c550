"""The configuration as plain dataclasses; built from nested mappings, refusing what is unknown."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from llm.methods.objective import Objective
from llm.models.load import ModelSettings
from llm.stages.sample import GenerationSettings
from llm.training.settings import TrainSettings
from spac_theory.checks import InputError, choice, integer

T = TypeVar("T")


@dataclass(frozen=True)
class LanguageSettings:
    """A synthetic language and how much data it gives."""

    name: str
    coverage: float
    scale: float
    pairs: int
    demonstrations: int


@dataclass(frozen=True)
class DataSettings:
    """Preference rows: `language`, or `source` (file, folder or hub name) with its splits."""

    language: LanguageSettings | None
    source: str | None
    revision: str | None
    split: str
    test_split: str | None
    chat_template: str | None
    max_prompt_length: int
    max_length: int
    identical_pairs: str
    max_rows: int | None

    def __post_init__(self) -> None:
        if (self.language is None) == (self.source is None):
            raise InputError(
                f"data.source is {self.source!r} and data.language.name is "
                f"{self.language.name if self.language else None!r}; exactly one of the two must "
                "be set."
            )


@dataclass(frozen=True)
class Method:
    """One column of the comparison: an objective, and which policy is the reference `π_t`."""

    objective: Objective
    reference: str

    def __post_init__(self) -> None:
        choice("method.reference", self.reference, ("initial", "previous"))


@dataclass(frozen=True)
class Settings:
    """Everything `python -m llm.run` does."""

    run_dir: str
    seed: int
    rounds: int
    iterate: str
    reference_batch: int
    data: DataSettings
    model: ModelSettings
    sft: TrainSettings | None
    generation: GenerationSettings
    train: TrainSettings
    methods: dict[str, Method]
    stages: list[str] | None

    def __post_init__(self) -> None:
        integer("rounds", self.rounds, low=1)
        integer("seed", self.seed, low=0)
        integer("reference_batch", self.reference_batch, low=1)
        choice("iterate", self.iterate, ("last", "best", "mixture"))
        if self.iterate == "best" and self.data.language is None and self.data.test_split is None:
            raise InputError(
                "iterate is 'best' and data.test_split is null; choosing needs held-out rows, so "
                "set data.test_split, or use last or mixture."
            )
        if not self.methods:
            raise InputError("methods is empty; name at least one method.")


def require_pins(settings: Settings) -> None:
    """Refuse a hub name without a commit: what it stands for could change under a run."""
    data, model = settings.data, settings.model
    if data.source is not None:
        path = Path(data.source).expanduser()
        if not path.exists() and path.suffix not in (".jsonl", ".parquet"):
            _pinned("data", "data.source", data.source, data.revision)
    if settings.sft is None and not model.is_local:
        _pinned("model", "model.name", model.name, model.revision)


def _pinned(group: str, field: str, name: str, revision: str | None) -> None:
    if revision is None or not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise InputError(
            f"{field} is the hub name {name!r} and {group}.revision is {revision!r}; set "
            f"{group}.revision to a commit (40 hexadecimal digits, listed under its files on the "
            "hub), or give a local path."
        )


def build(kind: type[T], values: Any, path: str = "") -> T:
    """Make dataclass `kind` from a mapping, checking names and types on the way down."""
    if not isinstance(values, Mapping):
        raise InputError(f"{path or 'configuration'} is {values!r:.60}; it must be a mapping.")
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in values:
        if name not in fields:
            raise InputError(
                f"{_join(path, name)} is no setting; {path or 'the configuration'} has: "
                f"{', '.join(sorted(fields))}."
            )
    given = {n: _convert(hints[n], v, _join(path, n)) for n, v in values.items()}
    for name, field in fields.items():
        no_default = field.default is dataclasses.MISSING
        if name not in given and no_default:
            raise InputError(f"{_join(path, name)} is missing from the configuration.")
    return kind(**given)


def _join(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)


def _convert(hint: Any, value: Any, path: str) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _convert(next(i for i in inner if i is not type(None)), value, path)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return build(typing.cast(Any, hint), value, path)
    if origin is dict and isinstance(inner[1], type) and dataclasses.is_dataclass(inner[1]):
        if not isinstance(value, Mapping):
            raise InputError(f"{path} is {value!r:.60}; it must be a mapping.")
        return {k: build(inner[1], v, _join(path, k)) for k, v in value.items() if v is not None}
    return _scalar(hint, origin, value, path)


def _scalar(hint: Any, origin: Any, value: Any, path: str) -> Any:
    kind = origin or hint
    if kind is Any:
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    wrong_bool = isinstance(value, bool) and kind is not bool
    if not isinstance(value, kind) or wrong_bool:
        raise InputError(f"{path} is {value!r:.60}; it must be of type {kind.__name__}.")
    return list(value) if kind is list else value
