"""Floating-point operations of training, counted: what a batch needs, whatever computes it and however.

An entry of a weight matrix costs a multiplication and an addition a token; the output layer only where a
token is predicted; attention as much for every token and every token it sees, once for the scores and once
for what they gather. The gradient costs the same again for the inputs, and once more for weights that are
trained. Not counted: what is done entry by entry, looking up embeddings, padding, activations computed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from llm.models.logprobs import causal_model


@dataclass(frozen=True)
class Load:
    """What is computed: `tokens`, those `predicted`, and pairs of a token and one it sees (`visible`)."""

    tokens: float = 0.0
    predicted: float = 0.0
    visible: float = 0.0

    def __add__(self, other: Load) -> Load:
        return Load(
            self.tokens + other.tokens,
            self.predicted + other.predicted,
            self.visible + other.visible,
        )


@dataclass(frozen=True)
class Cost:
    """Entries of the weights that a token meets in the `body`, and in the `head` where it is predicted.

    `trained_body` and `trained_head` are those with gradients; `width` is the width of all heads of all
    layers. Every layer is taken to attend.
    """

    body: float
    head: float
    trained_body: float
    trained_head: float
    width: float

    def forward(self, load: Load) -> float:
        """`2 (body · tokens + head · predicted) + 4 width · visible`."""
        return (
            2 * (self.body * load.tokens + self.head * load.predicted)
            + 4 * self.width * load.visible
        )

    def training(self, load: Load) -> float:
        """The same with its gradient."""
        weights = 2 * (self.trained_body * load.tokens + self.trained_head * load.predicted)
        return 2 * self.forward(load) + weights + 4 * self.width * load.visible


def cost_of(model: nn.Module) -> Cost:
    """The cost of a model of transformers, with adapters or without; it may lie on the meta device."""
    base: Any = causal_model(model)
    output = _output_layer(base)
    config = base.config.get_text_config() if hasattr(base, "config") else None
    active = getattr(config, "num_experts_per_tok", None)
    body = [
        (_entries(weight, active), weight.requires_grad)
        for module in base.modules()
        if module is not output and not isinstance(module, nn.Embedding)
        for weight in module.parameters(recurse=False)
        if weight.ndim >= 2
    ]
    head = (
        [(w.numel(), w.requires_grad) for w in output.parameters() if w.ndim >= 2] if output else []
    )
    return Cost(
        sum(n for n, _ in body),
        sum(n for n, _ in head),
        sum(n for n, trained in body if trained),
        sum(n for n, trained in head if trained),
        attention_width(config),
    )


def _output_layer(base: Any) -> nn.Module | None:
    """What turns states into logits; None where that is no module of its own."""
    found = base.get_output_embeddings() if hasattr(base, "get_output_embeddings") else None
    return found if isinstance(found, nn.Module) else None


def _entries(weight: torch.Tensor, active: int | None) -> float:
    """Entries that one token meets: of a stack of experts the active share."""
    shape = getattr(getattr(weight, "quant_state", None), "shape", weight.shape)
    entries = float(torch.Size(shape).numel())
    return entries * min(1.0, active / shape[0]) if active and len(shape) == 3 else entries


def attention_width(config: Any) -> float:
    """Layers × heads × width of a head; 0 for a model without heads."""
    heads = getattr(config, "num_attention_heads", None)
    if not heads:
        return 0.0
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    return float(config.num_hidden_layers * heads * width)
