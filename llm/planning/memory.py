"""The memory of one GPU, or of one process on a CPU, by part: in training, scoring and sampling.

Training is at its peak at one of two moments, and the larger one is told: where the forward pass is done and
its activations are all there, or where the optimiser steps and has temporaries of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from llm.models.cards import CARDS
from llm.models.logprobs import DEFAULT_CHUNK
from llm.models.packs import PACK_TOKENS
from llm.planning.reading import (
    Pass,
    frozen_copies,
    sampled,
    sequences,
    training_pass,
    trains,
)
from llm.planning.size import Size, computes_in
from llm.settings import Settings

GIB = 2**30
# Bytes a trained parameter of the optimiser's state, beside weights and gradients in float32 (4 + 4).
STATE = {"adamw": 8.0, "adamw_8bit": 2.0, "adamw_bf16": 4.0, "rmsprop": 4.0}
OVERHEAD = 2.5  # GiB: runtime and fragmentation on a GPU
BACKWARD = 0.5  # of what a layer keeps: the gradients inside it, while it is still there
Parts = dict[str, float]


@dataclass(frozen=True)
class Hardware:
    """How many GPUs, their memory in GiB, and the share of peak arithmetic one expects.

    `overhead` is what the runtime takes (GiB); `gpu` is false for a process on a CPU.
    """

    gpus: int = 8
    gpu_memory: float = 80.0
    mfu: float = 0.3
    generated_tokens: float = 3000.0
    peak: float = CARDS["h100"].peak
    overhead: float = OVERHEAD
    gpu: bool = True


def memory(settings: Settings, size: Size, hardware: Hardware, one: Pass | None = None) -> Parts:
    """GiB of one GPU in training by part, weights and states sharded over all (FSDP2 or ZeRO-3).

    `one` is the forward pass that is planned for; by default the largest that the settings allow. Where
    nothing is trained, of a whole model that decodes (:func:`decoding_memory`).
    """
    if not trains(settings):
        return decoding_memory(settings, size, hardware)
    one = one or training_pass(settings)
    parts = held(settings, size, hardware)
    first, second = passing(settings, size, hardware, one), stepping(settings, size, hardware)
    parts |= first if sum(first.values()) > sum(second.values()) else second
    scaled = {name: value / GIB for name, value in parts.items()}
    return {**scaled, "runtime and fragmentation": hardware.overhead}


def held(settings: Settings, size: Size, hardware: Hardware) -> Parts:
    """Bytes that stay from step to step."""
    train, share = settings.train, hardware.gpus
    # The base is counted whole where it has adapters: they lie beside it.
    frozen = size.parameters if settings.model.lora else 0
    frozen_bytes = stored_bytes(settings)
    return {
        "trained weights": 4 * size.trained / share,
        "frozen weights": frozen_bytes * frozen / share,
        "frozen copies": frozen_bytes * size.parameters * frozen_copies(settings),
        "slow copies": 2 * 4 * size.trained * any(m.slow() for m in settings.methods.values()),
        "optimiser state": STATE[train.optimiser] * size.trained / share,
        "average (EMA)": 4 * size.trained if train.ema else 0,
    }


def passing(settings: Settings, size: Size, hardware: Hardware, one: Pass) -> Parts:
    """Bytes at the end of a forward pass: activations, logits, and gradients of earlier passes."""
    train, share, compute = settings.train, hardware.gpus, computes_in(settings).itemsize
    logits = 2 * compute * min(one.predicted, train.logp_chunk) * size.vocabulary
    layer = size.kept.layer * one.tokens
    return {
        "gradients": 4 * size.trained / share if accumulates(settings, share) else 0,
        "gathered layers": 0
        if share == 1
        else 2 * size.layer * compute + 2 * size.embedding * compute,
        "bf16 copy of weights": 2 * size.parameters if _casts(settings) and share == 1 else 0,
        **_activations(settings, size, one),
        "attention masks": _masks(settings, size, one),
        "logits and their gradient, or a layer's": max(logits, BACKWARD * layer),
    }


def _activations(settings: Settings, size: Size, one: Pass) -> Parts:
    """Bytes of what is kept for the gradient: everything, or the inputs of the layers and one of them."""
    if not settings.train.gradient_checkpointing:
        return {"activations": (size.kept.layers + size.kept.outside) * one.tokens}
    residual = 4 if settings.model.dtype == "float32" else 2  # mixed precision adds in float32
    return {
        "activation checkpoints": (residual * size.layers * size.hidden + size.kept.outside)
        * one.tokens,
        "activations of a layer": size.kept.layer * one.tokens,
    }


def _masks(settings: Settings, size: Size, one: Pass) -> float:
    """Bytes of masks as numbers: one for all layers, or one a layer where they are all kept."""
    each = one.shared or settings.train.gradient_checkpointing
    return one.masked * computes_in(settings).itemsize * (1 if each else size.layers)


def stepping(settings: Settings, size: Size, hardware: Hardware) -> Parts:
    """Bytes while the optimiser steps: all gradients, and roots of the second moments.

    On a GPU they are taken for all weights at once, on a CPU weight by weight, with one more copy; moments in
    bfloat16 are widened weight by weight, and rounded with as many random numbers.
    """
    trained = size.trained / hardware.gpus
    roots = 4 * trained if hardware.gpu else 2 * 4 * size.largest
    own = {"adamw_8bit": 0.0, "adamw_bf16": 4 * 4.0 * size.largest}
    return {
        "gradients": 4 * trained,
        "temporaries of the step": own.get(settings.train.optimiser, roots),
    }


def accumulates(settings: Settings, processes: int) -> bool:
    """Whether a step has several passes, the later of which find gradients of the earlier."""
    train = settings.train
    return train.tokens is not None or train.batch > train.micro_batch * processes


def decoding_memory(settings: Settings, size: Size, hardware: Hardware | None = None) -> Parts:
    """GiB on one GPU where nothing is trained: the weights, and the caches of two passes a token."""
    tokens = 2 * settings.generation.batch * settings.data.max_length
    parts = {
        "frozen weights": stored_bytes(settings) * size.parameters,
        "key-value caches": 2 * size.layers * size.keys * _dtype_bytes(settings) * tokens,
    }
    overhead = hardware.overhead if hardware else OVERHEAD
    return {k: v / GIB for k, v in parts.items()} | {"runtime and fragmentation": overhead}


def stored_bytes(settings: Settings) -> float:
    """Bytes a weight that is not trained takes."""
    return 0.55 if settings.model.quantise else _dtype_bytes(settings)


def _dtype_bytes(settings: Settings) -> int:
    return 4 if settings.model.dtype == "float32" else 2


def _casts(settings: Settings) -> bool:
    """Whether automatic mixed precision keeps a second, bfloat16 copy of float32 weights."""
    return settings.train.bf16 and settings.model.dtype == "float32" and not settings.model.quantise


def without_gradients(settings: Settings, size: Size, hardware: Hardware | None = None) -> Parts:
    """GiB on one GPU in the reference pass and while sampling: a whole model a GPU, in `model.dtype`.

    The reference pass reads packs of `PACK_TOKENS` tokens, or `reference_batch` padded rows; sampling with
    transformers keeps keys and values of a batch, and half-prepared logits of its next tokens. Where nothing
    is trained there is neither.
    """
    if not trains(settings):
        return {}
    overhead = hardware.overhead if hardware else OVERHEAD
    parts = {
        "reference pass": _scoring(settings, size),
        "sampling": _sampling(settings, size),
    }
    return {name: value / GIB + overhead for name, value in parts.items()}


def _scoring(settings: Settings, size: Size) -> float:
    compute, longest = _dtype_bytes(settings), settings.data.max_length
    row = settings.data.max_prompt_length + sequences(settings) * longest
    padded = settings.reference_batch * sequences(settings) * longest
    budget = settings.train.tokens or PACK_TOKENS
    packed = min(max(budget, row), settings.reference_batch * row)
    tokens = packed if settings.train.packing else padded
    logits = 2 * compute * min(DEFAULT_CHUNK, tokens) * size.vocabulary
    weights = stored_bytes(settings) * size.parameters
    return weights + (size.widths + 4 * size.hidden) * compute * tokens + logits


def _sampling(settings: Settings, size: Size) -> float:
    g = settings.generation
    longest = settings.data.max_prompt_length + g.max_new_tokens
    cached = 2 * size.layers * size.keys * _dtype_bytes(settings) * longest
    drawn = g.batch * max(int(sampled(settings)), 1)
    return stored_bytes(settings) * size.parameters + drawn * (cached + 3 * 4 * size.vocabulary)
