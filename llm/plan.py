"""`python -m llm.plan`: memory, arithmetic, time and disk of a run, before anything is downloaded.

    python -m llm.plan model=mistral-7b gpus=8                       # eight H100s
    python -m llm.plan model=local model.name=FOLDER data.source=rows.jsonl gpu=rtx-4090 gpus=1
    python -m llm.plan model=mistral-7b data.revision=COMMIT train.lora=true gpu=rtx-3090 gpus=1

It takes every setting of llm.run, and of its own: gpu (a card by name), gpus, gpu_memory (GiB, instead of
the card's), mfu (share of the card's peak), generated_tokens (a second and GPU), pairs, tokens (a sequence).
It prints the parts of the memory of one GPU in training, sampling and the reference pass, and refuses, with
exit code 2, a plan that cannot fit, saying what would.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

import torch

from experiments.common.program import launch
from llm.cards import CARDS, card
from llm.methods import Following, Method, Stream
from llm.models.load import LoraSettings, add_lora
from llm.models.logprobs import DEFAULT_CHUNK
from llm.models.shape import empty_model, layer_classes, layers, token_widths
from llm.recipes import settled
from llm.run import CONFIG, quiet
from llm.settings import Settings
from llm.stages.reference import PACK_TOKENS
from llm.training.rollouts import frozen_names
from spac_theory.checks import InputError, integer, number

GIB = 2**30
SMALL = "train.micro_batch=1 train.gradient_checkpointing=true reference_batch=1 generation.batch=8"
# Bytes a trained parameter: weights and gradients in float32 (4 + 4), plus the optimiser's state.
STATE = {"adamw": 8.0, "adamw_8bit": 2.0, "rmsprop": 4.0}
OWN = ("gpu", "gpus", "gpu_memory", "mfu", "generated_tokens", "pairs", "tokens")
OVERHEAD = 2.5 * GIB  # runtime and fragmentation


@dataclass(frozen=True)
class Size:
    """Parameter counts and widths of a model."""

    parameters: int
    embedding: int
    layers: int
    hidden: int
    vocabulary: int
    trained: int
    layer: int
    widths: int
    keys: int
    wrapped: list[str]


@dataclass(frozen=True)
class Hardware:
    """How many GPUs, their memory in GiB, and the share of peak arithmetic one expects."""

    gpus: int = 8
    gpu_memory: float = 80.0
    mfu: float = 0.3
    generated_tokens: float = 3000.0
    peak: float = CARDS["h100"].peak


def measure(settings: Settings) -> Size:
    """Build the model on the meta device (no memory, no download) and count."""
    model: Any = empty_model(settings.model)
    config, wrapped = model.config.get_text_config(), layers(model)
    largest = max(wrapped, key=_parameters, default=model)
    active = getattr(config, "num_experts_per_tok", None) or 1
    embedding = model.get_input_embeddings().weight
    total, classes = _parameters(model), layer_classes(model)
    if settings.model.lora is not None:
        with torch.device("meta"):
            model = add_lora(model, settings.model.lora)
    return Size(
        parameters=total,
        embedding=embedding.numel(),
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        vocabulary=embedding.shape[0],
        trained=sum(p.numel() for p in model.parameters() if p.requires_grad),
        layer=_parameters(largest),
        widths=token_widths(largest, config.hidden_size, active),
        keys=_keys(config),
        wrapped=classes,
    )


def _keys(config: Any) -> int:
    """Width of the keys of one layer, all heads that are stored."""
    heads = getattr(config, "num_attention_heads", None) or 1
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    return int((getattr(config, "num_key_value_heads", None) or heads) * width)


def _parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def memory(settings: Settings, size: Size, hardware: Hardware) -> dict[str, float]:
    """GiB on one GPU in training by part, weights and states sharded over all (FSDP2 or ZeRO-3)."""
    train, share = settings.train, hardware.gpus
    # The base is counted whole where it has adapters: they lie beside it.
    frozen = size.parameters if settings.model.lora else 0
    frozen_bytes = stored_bytes(settings)
    tokens = train.micro_batch * sequences(settings) * settings.data.max_length
    compute = 2 if train.bf16 else 4
    kept = size.layers * size.hidden * compute * tokens
    inside = size.widths * compute * tokens * (1 if train.gradient_checkpointing else size.layers)
    parts = {
        "trained weights": 4 * size.trained / share,
        "frozen weights": frozen_bytes * frozen / share,
        "frozen copies": frozen_bytes * size.parameters * frozen_copies(settings),
        "gradients": 4 * size.trained / share,
        "optimiser state": STATE[train.optimiser] * size.trained / share,
        "average (EMA)": 4 * size.trained if train.ema else 0,
        "gathered layers": 0
        if share == 1
        else 2 * size.layer * compute + 2 * size.embedding * compute,
        "bf16 copy of weights": 2 * size.parameters if _casts(settings) and share == 1 else 0,
        "activation checkpoints": kept if train.gradient_checkpointing else 0,
        "activations of a layer": inside,
        "logits (chunked)": 3 * 4 * train.logp_chunk * size.vocabulary,
        "runtime and fragmentation": OVERHEAD,
    }
    return {name: value / GIB for name, value in parts.items()}


def stored_bytes(settings: Settings) -> float:
    """Bytes a weight that is not trained takes."""
    if settings.model.quantise:
        return 0.55
    return 4 if settings.model.dtype == "float32" else 2


def _casts(settings: Settings) -> bool:
    """Whether automatic mixed precision keeps a second, bfloat16 copy of float32 weights."""
    return settings.train.bf16 and settings.model.dtype == "float32" and not settings.model.quantise


def without_gradients(settings: Settings, size: Size) -> dict[str, float]:
    """GiB on one GPU in the reference pass and while sampling: a whole model a GPU, in `model.dtype`.

    The reference pass reads packs of `PACK_TOKENS` tokens, or `reference_batch` padded rows; sampling with
    transformers keeps keys and values of a batch, and half-prepared logits of its next tokens.
    """
    compute = 4 if settings.model.dtype == "float32" else 2
    weights, longest = stored_bytes(settings) * size.parameters, settings.data.max_length
    row = settings.data.max_prompt_length + sequences(settings) * longest
    padded = settings.reference_batch * sequences(settings) * longest
    packed = min(max(PACK_TOKENS, row), settings.reference_batch * row)
    tokens = packed if settings.train.packing else padded
    logits = 3 * 4 * min(DEFAULT_CHUNK, tokens) * size.vocabulary
    reference = weights + (size.widths + 4 * size.hidden) * compute * tokens + logits + OVERHEAD
    g = settings.generation
    answers = g.batch * max(int(sampled(settings)), 1)
    cached = (
        2 * size.layers * size.keys * compute * (settings.data.max_prompt_length + g.max_new_tokens)
    )
    sampling = weights + answers * (cached + 3 * 4 * size.vocabulary) + OVERHEAD
    return {"reference pass": reference / GIB, "sampling": sampling / GIB}


def sequences(settings: Settings) -> int:
    """Responses a prompt that a step holds: the most any of the methods, or its critic, reads."""
    return max(_count(settings.streams(m)) for m in settings.methods.values())


def _count(streams: Iterable[Stream]) -> int:
    return sum(s.count or 0 for s in streams)


def sampled(settings: Settings) -> float:
    """Responses a prompt drawn in a round, those of every step and epoch counted."""
    return max(
        sum(
            (s.count or 0) * (settings.training(m).epochs if s.when == "step" else 1)
            for s in settings.streams(m)
            if s.source != "data"
        )
        for m in settings.methods.values()
    )


def frozen_copies(settings: Settings) -> int:
    """Frozen policies that lie beside the trained one: what a step asks, less `π_1` under adapters."""
    names = {name for m in settings.methods.values() for name in frozen_names(settings.streams(m))}
    return len(names - ({"initial"} if settings.model.lora else set()))


def arithmetic(settings: Settings, size: Size, rows: int, tokens: float) -> dict[str, float]:
    """FLOP a round of the dearest method: `rows` pairs with `tokens` tokens a sequence, prompt included."""
    matmul = size.parameters - size.embedding
    each = (2 * matmul + 2 * size.layers * size.hidden * tokens) * tokens * rows
    found = [_work(settings, method, each) for method in settings.methods.values()]
    return max(found, key=lambda parts: sum(parts.values()))


def _work(settings: Settings, method: Method, each: float) -> dict[str, float]:
    """The same of one method; `each` is a forward pass over one response a prompt."""
    train, streams = settings.training(method), settings.streams(method)
    passes = 4 if train.gradient_checkpointing else 3
    read = each * _count(method.trained(streams))
    parts = {"reference pass": read, "training": passes * read * train.epochs}
    return parts | (_critic_work(settings, method, each, passes) if is_following(method) else {})


def _critic_work(
    settings: Settings, method: Following, each: float, passes: int
) -> dict[str, float]:
    """A critic's training, the scores of all critics so far, and the fits' share of a round."""
    own, streams, rounds = method.critic(), settings.streams(method), settings.rounds
    if own.network == "head":  # every answer is read once; a head on its states costs nothing
        return {"critic": each * _count(streams)}
    sampled = _count(s for s in streams if s.labels == "critic")
    fits = own.folds * (passes * (1 - 1 / own.folds) * own.fit_epochs + 1) * 2
    return {
        "critic": each * _count(streams) * (passes * own.epochs + 2),  # judged before and after
        "critics' rewards": each * sampled * (rounds + 1) / 2,
        "held-out fits (most)": each * fits / rounds,
    }


def is_following(method: Method) -> TypeGuard[Following]:
    """Whether a method trains a critic."""
    return isinstance(method, Following)


def critics(settings: Settings) -> int:
    """Critics that a run keeps on disk, those of the fits with them."""
    whole = [m.critic() for m in settings.methods.values() if is_following(m)]
    found = [own.folds for own in whole if own.network == "whole"]
    return sum(folds + settings.rounds for folds in found)


def hours(
    settings: Settings, size: Size, hardware: Hardware, rows: int, tokens: float
) -> dict[str, float]:
    """Hours a round for sampling, reference pass and training."""
    speed = hardware.peak * hardware.mfu * hardware.gpus
    parts = {k: v / speed / 3600 for k, v in arithmetic(settings, size, rows, tokens).items()}
    samples = rows * sampled(settings) * settings.generation.max_new_tokens
    generation = samples / (hardware.generated_tokens * hardware.gpus) / 3600
    return {"sampling (upper bound)": generation, **parts}


def disk(settings: Settings, size: Size) -> float:
    """GiB of the run directory: all iterates and critics, and two checkpoints."""
    weights = 4 * size.trained
    checkpoint = weights + STATE[settings.train.optimiser] * size.trained
    kept = settings.rounds * len(settings.methods) + critics(settings)
    return (kept * weights + 2 * checkpoint) / GIB


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
    """The size where adapters were supposed."""
    same = (settings.model.lora is None) == (before.model.lora is None)
    return size if same else measure(settings)


def _total(settings: Settings, size: Size, hardware: Hardware) -> float:
    """The most one GPU holds at any time, in GiB."""
    training = sum(memory(settings, size, hardware).values())
    return max(training, *without_gradients(settings, size).values())


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
    parts = {"training": sum(memory(settings, size, hardware).values())}
    parts |= without_gradients(settings, size)
    return max(parts, key=lambda name: parts[name])


def show(settings: Settings, hardware: Hardware, rows: int, tokens: float) -> None:
    """Print the plan as tables, then refuse it if it cannot fit."""
    from rich.console import Console
    from rich.table import Table

    size = measure(settings)
    table = Table(
        title=f"{size.parameters:,} parameters, {hardware.gpus} GPUs of {hardware.gpu_memory:g} GiB"
    )
    table.add_column("part")
    table.add_column("estimate", justify="right")
    parts = memory(settings, size, hardware)
    for name, value in parts.items():
        if value:
            table.add_row(name, f"{value:.2f} GiB")
    table.add_row("training, total a GPU", f"{sum(parts.values()):.2f} GiB", style="bold")
    for name, value in without_gradients(settings, size).items():
        table.add_row(f"{name}, total a GPU", f"{value:.2f} GiB", style="bold")
    for name, value in arithmetic(settings, size, rows, tokens).items():
        table.add_row(f"{name}, a round", f"{value:.3g} FLOP")
    for name, value in hours(settings, size, hardware, rows, tokens).items():
        table.add_row(f"{name}, a round", f"{value:.2f} h")
    table.add_row("wrapped one by one (FSDP)", ", ".join(size.wrapped) or "nothing")
    table.add_row("disk of the run", f"{disk(settings, size):.0f} GiB")
    console = Console(width=100)
    console.print(table)
    console.print(
        f"Assumed: {rows:,} pairs, {tokens:g} tokens a sequence, MFU {hardware.mfu:g}, "
        f"{hardware.generated_tokens:g} generated tokens/s a GPU. Estimates, not measurements."
    )
    check(settings, size, hardware)


def execute(values: dict[str, Any], output: Path | None = None) -> None:
    """Build settings from a plain mapping and print the plan."""
    from llm.settings import build

    quiet()
    kind = card(str(values.pop("gpu", "h100")))
    hardware = Hardware(
        integer("gpus", values.pop("gpus", 8), low=1),
        number("gpu_memory", values.pop("gpu_memory", kind.memory), low=1),
        number("mfu", values.pop("mfu", 0.3), low=0, high=1, open_low=True),
        number("generated_tokens", values.pop("generated_tokens", 3000.0), low=1),
        kind.peak,
    )
    rows = integer("pairs", values.pop("pairs", 61135), low=1)
    tokens = number("tokens", values.pop("tokens", 500.0), low=1)
    show(build(Settings, settled(values)), hardware, rows, tokens)


def main() -> None:
    """The command line; settings of the planner's own need no plus sign."""
    if {"--help", "-h"} & set(sys.argv[1:]):
        print(
            f"{__doc__}\nCards: {', '.join(CARDS)}.\nSettings of llm.run: python -m llm.run --help"
        )
        return
    sys.argv[1:] = [f"+{w}" if w.partition("=")[0] in OWN else w for w in sys.argv[1:]]
    launch("llm.plan", "llm.plan:execute", folder=CONFIG, config="run")


if __name__ == "__main__":
    main()
