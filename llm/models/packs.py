"""Which models read rows as packs of trees: asked of the model itself, on a small forest.

The question is whether every response of a pack gets the log-prob it gets alone. It fails for models with a
state from token to token, with biases instead of positions, with capped attention; they go on with padding.
"""

from __future__ import annotations

import warnings
from typing import Any, cast

import torch
from torch import Tensor, nn

from llm.data.trees import Tree, pack
from llm.models import probe, tree_attention
from llm.models.bodies import own_logits
from llm.models.logprobs import causal_model, packed_logps, with_logps

CHUNK = 64


def pack_obstacle(model: Any) -> str | None:
    """Why `model`, which has passed :func:`with_logps`, cannot read packs; None if it can.

    A model that can is left with tree attention, which answers plain masks as `sdpa` does.
    """
    if not isinstance(model.logp_body, str) or model.logp_body == probe.UNKNOWN:
        return "its log-probs do not come from its states one by one"
    if model.config._attn_implementation != "sdpa":
        return f"its attention is {model.config._attn_implementation!r}, not 'sdpa'"
    tree_attention.register()
    reason = "its attention does not go through the interface of transformers"
    with probe.quietly(model):
        alone = _alone(model)
        try:
            model.set_attn_implementation(tree_attention.NAME)
            together = packed_logps(model, model.logp_body, _forest(model), CHUNK)
            if probe.alike(alone, together):
                return None
            reason = "its responses in a pack do not get the log-probs they get alone"
        except (
            Exception
        ) as error:  # whatever a foreign attention makes of a layout, padding still works
            reason = f"its attention refuses a pack ({str(error).splitlines()[0]:.80})"
    model.set_attn_implementation("sdpa")
    return reason


def with_packs(model: nn.Module) -> bool:
    """Teach `model` (in place) to read packs where it can; else say why not, once, and return False."""
    base: Any = causal_model(with_logps(model))
    reason = pack_obstacle(base)
    if reason is not None:
        warnings.warn(f"train.packing is off: {reason}. Rows are padded instead.", stacklevel=2)
    return reason is None


def _trees(model: Any) -> list[Tree]:
    """Two prompts with two responses each, of ordinary tokens."""
    rows = probe.sample_batch(model, seed=5)[0].tolist()
    return [Tree(row[:3], (row[3:5], row[5:8])) for row in rows]


def _forest(model: Any) -> Any:
    return pack(_trees(model)).to(model.get_input_embeddings().weight.device)


def _alone(model: Any) -> Tensor:
    device = model.get_input_embeddings().weight.device
    values = []
    for tree in _trees(model):
        for response in tree.responses:
            ids = torch.tensor([[*tree.prompt, *response]], device=device)
            table = own_logits(model, ids, torch.ones_like(ids))[0].log_softmax(-1)
            first = len(tree.prompt) - 1
            values.append(sum(table[first + k, y] for k, y in enumerate(response)))
    return torch.stack(cast(list[Tensor], values))
