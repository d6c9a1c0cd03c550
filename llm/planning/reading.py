"""What the methods of a run read: answers a prompt, frozen policies, critics, and the tokens of a pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeGuard

from llm.methods import Following, Method, Stream
from llm.methods.kinds import Decoding
from llm.models.flops import Load
from llm.settings import Settings
from llm.training.rollouts import frozen_names


@dataclass(frozen=True)
class Pass:
    """One forward pass of a process: tokens computed (padding too), tokens predicted, entries of its masks.

    `shared` says whether all layers read one mask; those of padded rows are made anew in each.
    """

    tokens: float
    predicted: float
    masked: float = 0.0
    shared: bool = False


def trains(settings: Settings) -> bool:
    """Whether any of the methods trains."""
    return not all(isinstance(m, Decoding) for m in settings.methods.values())


def is_following(method: Method) -> TypeGuard[Following]:
    """Whether a method trains a critic."""
    return isinstance(method, Following)


def sequences(settings: Settings) -> int:
    """Responses a prompt that a step holds: the most any of the methods, or its critic, reads."""
    return max(answers(settings.streams(m)) for m in settings.methods.values())


def answers(streams: Iterable[Stream]) -> int:
    """Responses a prompt of some streams."""
    return sum(s.count or 0 for s in streams)


def sampled(settings: Settings) -> float:
    """Responses a prompt drawn in a round, those of every step and epoch counted."""
    return max(
        sum(
            (s.count or 0) * (settings.training(m).epochs if s.when == "step" else 1)
            for s in settings.streams(m)
            if s.source not in ("data", "edit")
        )
        for m in settings.methods.values()
    )


def frozen_copies(settings: Settings) -> int:
    """Frozen policies that lie beside the trained one: what a step asks, less `π_1` under adapters."""
    names = {name for m in settings.methods.values() for name in frozen_names(settings.streams(m))}
    return len(names - ({"initial"} if settings.model.lora else set()))


def critics(settings: Settings) -> int:
    """Critics that a run keeps on disk, those of the fits with them."""
    whole = [m.critic() for m in settings.methods.values() if is_following(m)]
    found = [own.folds for own in whole if own.network == "whole"]
    return sum(folds + settings.rounds for folds in found)


def row(settings: Settings) -> Pass:
    """The longest row: padded to `max_length`, or a tree of the longest prompt and its longest answers."""
    data, count = settings.data, sequences(settings)
    prompt = min(data.max_prompt_length, data.max_length - 1)
    answer = data.max_length - prompt
    if not settings.train.packing:
        return Pass(count * data.max_length, count * answer, count * data.max_length**2)
    tokens = prompt + count * answer
    return Pass(tokens, count * answer, tokens**2, True)


def training_pass(settings: Settings) -> Pass:
    """A pass with gradients: `micro_batch` of the longest rows, or as many as the budget of tokens holds."""
    one, budget = row(settings), settings.train.tokens
    rows = settings.train.micro_batch if budget is None else max(1.0, budget / one.tokens)
    return Pass(rows * one.tokens, rows * one.predicted, rows * one.masked, one.shared)


def rows_load(settings: Settings, tokens: float, count: int) -> Load:
    """What one prompt with `count` answers costs, `tokens` a sequence, without padding.

    The prompt's share of a sequence is that of `max_prompt_length` in `max_length`; where rows are packed it
    is computed once.
    """
    data, train = settings.data, settings.train
    prompt = tokens * min(1.0, data.max_prompt_length / data.max_length)
    answer = tokens - prompt
    once = min(1, count) if train.packing else count
    seen = once * prompt * (prompt + 1) / 2 + count * answer * (prompt + (answer + 1) / 2)
    return Load(once * prompt + count * answer, count * answer, seen)
