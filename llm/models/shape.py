"""What a model is made of, read off the model itself: sizes, its layers, whether rows can be packed.

Models are built on the meta device from a configuration: no memory, no weights, no download.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from llm.models.load import ModelSettings, load_configuration
from llm.models.probe import require_causal_configuration
from spac_theory.checks import InputError


def configuration(model: ModelSettings) -> Any:
    """The configuration of the model: its folder's `config.json`, else `model.architecture`.

    `architecture` holds the fields of a `config.json`; `model_type` is `mistral` where not given.
    """
    from transformers import AutoConfig

    if model.is_local:
        return load_configuration(model.name)
    if model.name.startswith((".", "/", "~")):
        raise InputError(
            f"model.name is {model.name!r}, and there is no such folder; check the path."
        )
    shape = dict(model.architecture)
    if "hidden_size" not in shape and "model_type" not in shape:
        raise InputError(
            "model.architecture does not describe a full model; plan needs one that does, such as "
            "model=mistral-7b, or model.name as a folder with a config.json."
        )
    kind = shape.pop("model_type", "mistral")
    try:
        return AutoConfig.for_model(kind, **shape)
    except ValueError as error:
        raise InputError(
            f"model.architecture.model_type is {kind!r}, which this transformers does not know; "
            "use the model_type of the model's config.json."
        ) from error


def empty_model(model: ModelSettings) -> Any:
    """The causal model on the meta device; refuses one that is not causal in a sentence."""
    return empty_of(configuration(model), model.name)


def empty_of(config: Any, name: str) -> Any:
    """The same from a configuration."""
    from transformers import AutoModelForCausalLM

    require_causal_configuration(config, name)
    kind: Any = AutoModelForCausalLM
    with torch.device("meta"):
        return kind.from_config(config, trust_remote_code=False)


def layers(model: Any) -> list[nn.Module]:
    """The layers that are never split over devices, outermost first: what FSDP wraps one by one.

    They are of the classes that the model itself names; one that names none has no layer to wrap.
    """
    names = set(getattr(model, "_no_split_modules", None) or ())
    return list(_outermost(model, names))


def _outermost(module: nn.Module, names: set[str]) -> Iterator[nn.Module]:
    for child in module.children():
        if type(child).__name__ in names:
            yield child
        else:
            yield from _outermost(child, names)


def layer_classes(model: Any) -> list[str]:
    """The class names of :func:`layers`, as `fsdp_transformer_layer_cls_to_wrap` takes them."""
    return sorted({type(layer).__name__ for layer in layers(model)})


def token_widths(layer: nn.Module, hidden: int, active_experts: int) -> int:
    """Numbers that a layer keeps for one token inside its recomputation.

    The outputs of its matrices (of the active experts alone, where a weight holds a stack of them),
    the widest input of one (the product of gate and up), two norms' inputs less what the residual
    stream shares: for Mistral norms, q, k, v, context, two residuals, gate, up and product.
    """
    outputs = widest = 0
    for module in layer.modules():
        for weight in module.parameters(recurse=False):
            if weight.ndim >= 2 and not isinstance(module, nn.Embedding):
                copies = active_experts if weight.ndim == 3 else 1
                rows, columns = _sides(module, weight)
                outputs += copies * rows
                widest = max(widest, copies * columns)
    return 3 * hidden + outputs + widest


def _sides(module: nn.Module, weight: torch.Tensor) -> tuple[int, int]:
    """Output and input width; the `Conv1D` of GPT-2 stores its matrix the other way round."""
    rows, columns = weight.shape[-2:]
    return (columns, rows) if type(module).__name__ == "Conv1D" else (rows, columns)


def packing_obstacle(model: Any) -> str | None:
    """Why several texts cannot share one row with positions that start again, or None.

    `model` holds its weights. The question is put to the model: the logits of two texts in one row,
    told apart by their positions alone, must be those of each text by itself.
    """
    from llm.models.probe import packed_alike, takes

    if getattr(model, "_is_stateful", False):
        return "it carries a state from token to token, which one text would hand to the next"
    if not takes(model, "position_ids"):
        return "its forward pass takes no positions, so they cannot start again inside a row"
    if not packed_alike(model):
        return "its attention does not stay inside a text when positions start again"
    return None
