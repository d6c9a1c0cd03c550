"""What can be refused before the first stage: the model, its tokenizer, its adapters, the judge.

Settings that are wrong in themselves are refused when they are read (:mod:`llm.settings`). Here they are
held against what they name; only configuration files and the tokenizer are read, never weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from llm.data.row import Row
from llm.models.judges import load_judge
from llm.models.load import add_lora, is_adapter, load_configuration, pinned_base
from llm.models.probe import require_causal_configuration
from llm.models.shape import empty_of
from llm.settings import LANGUAGE, Settings
from llm.stages.label import Labeller
from llm.stages.prepare import make_tokenizer
from spac_theory.checks import InputError

TINY = {"hidden", "layers"}


def judge(settings: Settings) -> None:
    """Refuse what cannot run, everything at once, a sentence a line."""
    told = list(dict.fromkeys(_sentences(settings)))
    if told:
        raise InputError("\n".join(told))


def _sentences(settings: Settings) -> Iterator[str]:
    checks: list[Callable[[Settings], None]] = [_tokenizer, _judge]
    checks.append(_tiny if settings.sft is not None else _model)
    for check in checks:
        try:
            check(settings)
        except InputError as error:
            yield str(error)


def _tokenizer(settings: Settings) -> None:
    """It ends answers, and its template renders the same words tomorrow."""
    make_tokenizer(settings.data, settings.model)


def _judge(settings: Settings) -> None:
    """A judge that is code can be imported; a folder holds a model."""
    name = settings.judge
    if name is None or name == LANGUAGE:
        return
    if not Path(name).is_dir():
        load_judge(name)
    elif not (Path(name) / "config.json").is_file():
        raise InputError(f"judge is {name!r}; that folder holds no model (no config.json).")


def ask(settings: Settings, row: Row, tokenizer: Any) -> None:
    """Ask a judge that is code about the data's first answer, before hours are spent on its questions."""
    name = settings.judge
    if name is not None and name != LANGUAGE and not Path(name).is_dir():
        Labeller(load_judge(name), tokenizer).scores([row], next(iter(row.responses)))


def _tiny(settings: Settings) -> None:
    """The model made from scratch knows width and depth."""
    shape = settings.model.architecture
    unknown = sorted(set(shape) - TINY)
    if unknown:
        raise InputError(
            f"model.architecture has {unknown[0]!r}; a model made from scratch (sft is set) has: "
            f"{', '.join(sorted(TINY))}."
        )
    for name, step in (("hidden", 4), ("layers", 1)):
        value = shape.get(name, step)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1 or value % step:
            raise InputError(
                f"model.architecture.{name} is {value!r}; it must be a whole number above 0"
                + (f" and a multiple of {step}." if step > 1 else ".")
            )


def _model(settings: Settings) -> None:
    """The configuration is readable, texts fit into it, and adapters find their layers."""
    model, told = settings.model, list[str]()
    name: str = model.name
    revision = None if model.is_local else model.revision
    if is_adapter(name):
        name, revision = pinned_base(name, model)
    config = load_configuration(name, revision)
    require_causal_configuration(config, name)
    longest = getattr(config, "max_position_embeddings", None)
    wanted = settings.data.max_prompt_length + settings.generation.max_new_tokens
    for field, value in (
        ("data.max_length", settings.data.max_length),
        ("data.max_prompt_length + generation.max_new_tokens", wanted),
    ):
        if longest is not None and value > longest:
            told.append(f"{field} is {value}; {name} reads at most {longest} tokens, so lower it.")
    if model.lora is not None and not is_adapter(model.name):
        try:
            with torch.device("meta"):
                add_lora(empty_of(config, name), model.lora)
        except InputError as error:
            told.append(str(error))
    if told:
        raise InputError("\n".join(told))
