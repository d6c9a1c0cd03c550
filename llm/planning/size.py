"""The sizes of a model that a plan rests on, counted on the meta device: no memory, no download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from llm.models.flops import Cost, cost_of
from llm.models.load import add_lora
from llm.models.shape import empty_model, layer_classes, layers, token_widths
from llm.planning.activations import Kept, kept
from llm.settings import Settings


@dataclass(frozen=True)
class Size:
    """Parameter counts and widths of a model.

    `largest` is the largest trained weight, `cost` what a token costs to compute, `kept` what it leaves
    for the gradient in the dtype of the computation.
    """

    parameters: int
    embedding: int
    layers: int
    hidden: int
    vocabulary: int
    trained: int
    largest: int
    layer: int
    widths: int
    keys: int
    wrapped: list[str]
    cost: Cost
    kept: Kept


def computes_in(settings: Settings) -> torch.dtype:
    """The dtype of the matrices' arithmetic in training."""
    half = settings.train.bf16 or settings.model.dtype != "float32"
    return torch.bfloat16 if half else torch.float32


def measure(settings: Settings) -> Size:
    """Build the model on the meta device and count."""
    model: Any = empty_model(settings.model)
    config, wrapped = model.config.get_text_config(), layers(model)
    largest = max(wrapped, key=parameters, default=model)
    active = getattr(config, "num_experts_per_tok", None) or 1
    embedding = model.get_input_embeddings().weight
    total, classes = parameters(model), layer_classes(model)
    layer, widths = parameters(largest), token_widths(largest, config.hidden_size, active)
    if settings.model.lora is not None:
        with torch.device("meta"):
            model = add_lora(model, settings.model.lora)
    trained = [p.numel() for p in model.parameters() if p.requires_grad]
    return Size(
        parameters=total,
        embedding=embedding.numel(),
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        vocabulary=embedding.shape[0],
        trained=sum(trained),
        largest=max(trained),
        layer=layer,
        widths=widths,
        keys=_keys(config),
        wrapped=classes,
        cost=cost_of(model),
        kept=kept(model, computes_in(settings)) or _supposed(settings, config, widths),
    )


def _supposed(settings: Settings, config: Any, widths: int) -> Kept:
    """What a model keeps of a token whose code does not run without numbers: the outputs of its matrices."""
    layer = float(widths * computes_in(settings).itemsize)
    return Kept(layer, layer * config.num_hidden_layers, 0.0)


def _keys(config: Any) -> int:
    """Width of the keys of one layer, all heads that are stored."""
    heads = getattr(config, "num_attention_heads", None) or 1
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    return int((getattr(config, "num_key_value_heads", None) or heads) * width)


def parameters(module: torch.nn.Module) -> int:
    """How many numbers a module holds."""
    return sum(p.numel() for p in module.parameters())
