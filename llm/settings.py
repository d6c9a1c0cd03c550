"""The configuration as plain dataclasses; built from nested mappings, refusing what is unknown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, PlainValidator

from experiments.common.configuration import Comparisons, Count, Natural, Positive, Share, read
from llm.data import templates
from llm.data.formats import FILES
from llm.files import processes
from llm.methods import Conditions, Method, Stream, make_method, streams_of
from llm.models.bundled import WHEELS
from llm.models.engines import GenerationSettings
from llm.models.load import ModelSettings
from llm.training.settings import TrainSettings
from llm.worlds.language import RARE
from llm.worlds.sentiment import SentimentSettings
from spac_theory.checks import InputError
from spac_theory.registry import load_plugins

T = TypeVar("T")
LANGUAGE = "language"
RESERVED = ("initial", "prepare", "responses", "sft", "start")
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Kind = Literal[
    "responses",
    "prepare",
    "sft",
    "sample",
    "fit",
    "critic",
    "label",
    "reference",
    "train",
    "evaluate",
    "terms",
]


def _methods(value: Any) -> dict[str, Method]:
    """Methods by name from mappings of options; all that is wrong at once."""
    if isinstance(value, Mapping) and all(isinstance(m, Method) for m in value.values()):
        return dict(value)
    if not isinstance(value, Mapping) or not value:
        raise InputError(f"methods is {value!r:.60}; it must name at least one method.")
    found, told = dict[str, Method](), list[str]()
    for name, options in value.items():
        try:
            _folder(str(name))
            if options is not None:
                found[str(name)] = make_method(str(name), options)
        except InputError as error:
            told.append(str(error))
    if told:
        raise InputError("\n".join(told))
    return found


def _folder(name: str) -> None:
    """Refuse a name that is no folder of its own in the run directory."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._=+-]*", name) or name in RESERVED:
        raise InputError(
            f"methods.{name} is no name for a method; its folder in run_dir is called so, so use "
            f"letters, digits, dots, dashes and spaces, and none of: {', '.join(RESERVED)}."
        )


@dataclass(frozen=True)
class LanguageSettings:
    """A synthetic language and how much data it gives."""

    name: Literal["misleads", "extrapolates", "chains", "paths"]
    coverage: Annotated[float, Field(ge=0, le=1 - RARE)]
    scale: Positive
    pairs: Comparisons
    demonstrations: Comparisons


@dataclass(frozen=True)
class EvaluationSettings:
    """How many held-out prompts a policy answers, and how often; 0 prompts: none."""

    prompts: Natural = 64
    samples: Count = 1


@dataclass(frozen=True)
class DataSettings:
    """Preference rows: `language`, `sentiment`, or `source` (file, folder, hub name) with its splits.

    Without a test split, `test_share` of the prompts is held out; `columns` says how the file calls
    what is needed, see :mod:`llm.data.columns`.
    """

    language: LanguageSettings | None
    source: str | None
    revision: str | None
    split: str
    test_split: str | None
    chat_template: str | None
    max_prompt_length: Count
    max_length: Count
    identical_pairs: Literal["keep", "drop", "refuse"]
    max_rows: Count | None
    sentiment: SentimentSettings | None = None
    test_share: Share = 0.1
    columns: dict[str, str] | None = None

    def __post_init__(self) -> None:
        given = [self.language, self.sentiment, self.source]
        if sum(kind is not None for kind in given) != 1:
            raise InputError(
                f"data.source is {self.source!r}, data.language is {'' if self.language else 'not '}"
                f"set and data.sentiment is {'' if self.sentiment else 'not '}set; exactly one of "
                "the three must be set."
            )
        if self.max_prompt_length >= self.max_length:
            raise InputError(
                f"data.max_prompt_length is {self.max_prompt_length}; it must be below "
                f"data.max_length, which is {self.max_length}."
            )
        templates.source(self.chat_template)


@dataclass(frozen=True)
class Settings:
    """Everything `python -m llm.run` does."""

    run_dir: Annotated[str, Field(min_length=1)]
    seed: Seed
    rounds: Count
    iterate: Literal["last", "best", "mixture"]
    reference_batch: Count
    data: DataSettings
    model: ModelSettings
    sft: TrainSettings | None
    generation: GenerationSettings
    train: TrainSettings
    methods: Annotated[dict[str, Method], PlainValidator(_methods)]
    judge: str | None
    stages: list[Kind] | None
    plugins: list[str]
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)

    def __post_init__(self) -> None:
        source = self.data.source is not None
        if self.iterate == "best" and source and not (self.data.test_split or self.data.test_share):
            raise InputError(
                "iterate is 'best', data.test_split is null and data.test_share is 0; choosing needs "
                "held-out rows, so set one of the two, or use last or mixture."
            )
        if self.judge == LANGUAGE and self.data.language is None:
            raise InputError(
                "judge is 'language' and data.language is null; only a language knows its reward, so "
                "name module:function or the folder of a reward model."
            )
        if self.sft is not None and self.data.language is None:
            raise InputError(
                "sft is set and data.language is null; only a language has demonstrations, so set sft "
                "to null and model.name to a model that is fine-tuned already."
            )
        for name, method in self.methods.items():
            self.training(method, f"methods.{name}.train")
        found = [_cannot(name, method, self) for name, method in self.methods.items()]
        if any(found):
            raise InputError("\n".join(filter(None, found)))

    def training(self, method: Method, field: str = "") -> TrainSettings:
        """How a method is optimised: the train group with the method's own fields in it."""
        return (
            read(TrainSettings, {**asdict(self.train), **method.train}, field)
            if method.train
            else self.train
        )

    def streams(self, method: Method) -> tuple[Stream, ...]:
        """The streams of a method with their counts."""
        return streams_of(method, self.generation.samples)


def _cannot(name: str, method: Method, settings: Settings) -> str | None:
    """Why a method cannot run here, as a sentence."""
    conditions = Conditions(
        language=settings.data.language is not None,
        judge=settings.judge is not None,
        sharded=processes.sharded(),
    )
    reason = method.skip(conditions)
    if reason is None and settings.judge is None:
        asks = [s.name for s in settings.streams(method) if s.labels not in (None, "critic")]
        reason = f"its stream {asks[0]} needs labels, and judge is null" if asks else None
    return f"methods.{name} cannot run here: {reason}." if reason else None


def require_pins(settings: Settings) -> None:
    """Refuse a file that is not there, and a hub name without a commit: what it stands for could change."""
    data, model, told = settings.data, settings.model, list[str | None]()
    if data.source is not None:
        path = Path(data.source).expanduser()
        if path.suffix in FILES:
            told.append(
                None if path.exists() else f"data.source is {data.source!r}; there is no such file."
            )
        elif not path.exists():
            told.append(_unpinned("data", "data.source", data.source, data.revision))
    if settings.sft is None and not (model.is_local or model.name in WHEELS or model.unpinned):
        told.append(_unpinned("model", "model.name", model.name, model.revision))
    if any(told):
        raise InputError("\n".join(filter(None, told)))


def _unpinned(group: str, field: str, name: str, revision: str | None) -> str | None:
    if revision is not None and re.fullmatch(r"[0-9a-f]{40}", revision):
        return None
    if name.startswith((".", "/", "~")):
        return f"{field} is {name!r}, and there is no such folder; check the path."
    return (
        f"{field} is the hub name {name!r} and {group}.revision is {revision!r}; set {group}.revision to "
        "a commit (40 hexadecimal digits, listed under its files on the hub), or give a local path"
        + (
            ", or take what the name stands for today: model.unpinned=true."
            if group == "model"
            else "."
        )
    )


def build(kind: type[T], values: Any, field: str = "") -> T:
    """The settings `kind` from a mapping; everything that is wrong is said at once, a sentence a line.

    Plug-ins that the mapping names are loaded first, so that their methods are known.
    """
    if kind is Settings and isinstance(values, Mapping):
        load_plugins([str(path) for path in values.get("plugins") or []])
    return read(kind, values, field)
