"""Refusing a plan that does not fit, with what would."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from llm.models.cards import CARDS
from llm.models.load import LoraSettings
from llm.planning.memory import Hardware, memory, without_gradients
from llm.planning.reading import trains
from llm.planning.size import Size, computes_in, measure
from llm.settings import Settings
from spac_theory.checks import InputError

SMALL = "train.micro_batch=1 train.gradient_checkpointing=true reference_batch=1 generation.batch=8"


def remedies(settings: Settings, size: Size, hardware: Hardware) -> list[str]:
    """Changes that would make the plan fit, cheapest first."""
    small = replace(
        settings,
        reference_batch=1,
        generation=replace(settings.generation, batch=min(8, settings.generation.batch)),
        train=replace(settings.train, micro_batch=1, gradient_checkpointing=True),
    )
    tries = [(SMALL, small, hardware)]
    tries += [(words, lighter, hardware) for words, lighter in _lighter(settings, small)]
    tries += [
        (f"gpus={n} (same micro_batch)", settings, replace(hardware, gpus=n)) for n in (2, 4, 8, 16)
    ]
    tries += [(f"gpus={n} {SMALL}", small, replace(hardware, gpus=n)) for n in (2, 4, 8, 16)]
    tries.append((f"gpu=h200 {SMALL}", small, replace(hardware, gpu_memory=CARDS["h200"].memory)))
    return [
        words
        for words, s, h in tries
        if h.gpus >= hardware.gpus and _total(s, _resized(s, settings, size), h) <= h.gpu_memory
    ]


def _lighter(settings: Settings, small: Settings) -> list[tuple[str, Settings]]:
    """Adapters, a base in bfloat16, a base in four bits, as far as they are not there yet."""
    model = settings.model
    words = "" if model.lora is not None else "train.lora=true "
    lora = model.lora or LoraSettings()
    found = []
    if words and model.dtype == "float32":
        found.append((f"train.lora=true {SMALL}", _supposing(small, lora=lora)))
    if model.dtype == "float32":
        half = {"lora": lora, "dtype": "bfloat16"}
        found += [
            (f"{words}model.dtype=bfloat16", _supposing(settings, **half)),
            (f"{words}model.dtype=bfloat16 {SMALL}", _supposing(small, **half)),
        ]
    if model.quantise is None:
        four = _supposing(small, lora=lora, quantise="nf4", dtype="bfloat16")
        found.append((f"{words}model.quantise=nf4 model.dtype=bfloat16 {SMALL} (QLoRA)", four))
    return found


def _supposing(settings: Settings, **changes: Any) -> Settings:
    """The settings with another model, whose packages need not be installed to be counted."""
    model = copy.copy(settings.model)
    for name, value in changes.items():
        object.__setattr__(model, name, value)
    changed = copy.copy(settings)
    object.__setattr__(changed, "model", model)
    return changed


def _resized(settings: Settings, before: Settings, size: Size) -> Size:
    """The size where adapters or another dtype were supposed."""
    kinds = [(s.model.lora is None, computes_in(s)) for s in (settings, before)]
    return size if kinds[0] == kinds[1] else measure(settings)


def _total(settings: Settings, size: Size, hardware: Hardware) -> float:
    """The most one GPU holds at any time, in GiB."""
    training = sum(memory(settings, size, hardware).values())
    return max([training, *without_gradients(settings, size, hardware).values()])


def check(settings: Settings, size: Size, hardware: Hardware) -> None:
    """Refuse a plan that does not fit, with what would."""
    total = _total(settings, size, hardware)
    if total > hardware.gpu_memory:
        helps = remedies(settings, size, hardware)[:3]
        advice = "; or ".join(helps) if helps else "LoRA (model.lora) or a smaller model"
        raise InputError(
            f"This plan needs {total:.0f} GiB a GPU ({_largest(settings, size, hardware)}) and gpu_memory "
            f"is {hardware.gpu_memory:g}; "
            f"what would fit: {advice}."
        )


def _largest(settings: Settings, size: Size, hardware: Hardware) -> str:
    """Which of training, reference pass and sampling needs most."""
    parts = {work_of(settings): sum(memory(settings, size, hardware).values())}
    parts |= without_gradients(settings, size, hardware)
    return max(parts, key=lambda name: parts[name])


def work_of(settings: Settings) -> str:
    """What :func:`memory` counts."""
    return "training" if trains(settings) else "decoding"
