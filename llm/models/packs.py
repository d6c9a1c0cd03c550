"""Which models read rows as packs of trees: asked of the model itself, on a small forest.

The question is whether every response of a pack gets the number it gets alone: its log-prob from a language
model, its output from a critic. It fails for models with a state from token to token, with biases instead of
positions, with capped attention; they go on with padding.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from llm.data.trees import Pack, Tree, fill, pack
from llm.models import probe, tree_attention, tree_flex
from llm.models.bodies import body_outputs, own_logits
from llm.models.logprobs import causal_model, packed_logps, with_logps

CHUNK = 64
PACK_TOKENS = 4096  # a pass without gradients, where no budget is given
READERS: dict[str, Any] = {"sdpa": tree_attention, "flex_attention": tree_flex}
HEAD = "score"  # transformers' name for the output layer of a sequence classifier


def pack_obstacle(model: Any) -> str | None:
    """Why `model`, which has passed :func:`with_logps`, cannot read packs; None if it can.

    A model that can is left with tree attention, which answers plain masks as its own attention does.
    """
    if model.logp_body == probe.UNKNOWN:
        model.logp_body = probe.find_body(model)
    if model.logp_body is None:
        return "its log-probs do not come from its states one by one"
    together = partial(packed_logps, model, model.logp_body, chunk=CHUNK)
    return _obstacle(model, _alone, lambda: together(packed=_forest(model)))


def critic_obstacle(model: Any) -> str | None:
    """The same for a critic, a sequence classifier whose one output is read at the last token."""
    if not hasattr(model, HEAD):
        return f"its output layer is not called {HEAD!r}"
    return _obstacle(model, _outputs_alone, lambda: pack_outputs(model, _forest(model)))


def _obstacle(
    model: Any, alone: Callable[[Any], Tensor], together: Callable[[], Tensor]
) -> str | None:
    own = model.config._attn_implementation
    if own in {reader.NAME for reader in READERS.values()}:
        return None  # it was asked before
    if own not in READERS:
        return f"its attention is {own!r}, not one of {', '.join(READERS)}"
    READERS[own].register()
    reason = "its attention does not go through the interface of transformers"
    with probe.quietly(model):
        expected = alone(model)
        try:
            model.set_attn_implementation(READERS[own].NAME)
            if probe.alike(expected, together()):
                return None
            reason = "its responses in a pack do not get the numbers they get alone"
        except (
            Exception
        ) as error:  # whatever a foreign attention makes of a layout, padding still works
            reason = f"its attention refuses a pack ({str(error).splitlines()[0]:.80})"
    model.set_attn_implementation(own)
    return reason


def with_packs(model: nn.Module) -> bool:
    """Teach `model` (in place) to read packs where it can; else say why not, once, and return False."""
    base: Any = causal_model(with_logps(model))
    return _told(pack_obstacle(base))


def comes_later(model: nn.Module) -> bool:
    """Whether nothing can be asked of the weights yet: they are loaded sharded."""
    base: Any = causal_model(with_logps(model))
    return bool(base.logp_body == probe.UNKNOWN)


def with_packs_later(model: nn.Module) -> bool:
    """:func:`with_packs` for a model that is sharded by now: asked inside a call of the whole model."""
    return _told(model(question=pack_obstacle))


def with_critic_packs(model: nn.Module) -> bool:
    """The same for a critic."""
    return _told(critic_obstacle(causal_model(model)))


def pack_outputs(model: Any, packed: Pack) -> Tensor:
    """The raw output of a critic on every response of a pack, `(R,)`, from one call of the whole model."""
    heard: list[Tensor] = []
    head = causal_model(model).get_submodule(HEAD)
    handle = head.register_forward_hook(lambda module, given, found: heard.append(found))
    try:
        model(
            input_ids=packed.input_ids,
            attention_mask=packed.layout,
            position_ids=packed.position_ids,
            use_cache=False,
        )
    finally:
        handle.remove()
    return heard[0][0, packed.ends, 0]


@torch.no_grad()
def over_packs(
    model: Any, trees: Sequence[Tree], tokens: int, values: Callable[[Pack], Tensor]
) -> Tensor:
    """What `values (R, …)` gives every response of `trees`, tree by tree, on the CPU.

    A pack has at most `tokens` tokens, or one tree.
    """
    device = next(model.parameters()).device
    found: dict[int, Tensor] = {}
    for part in fill([tree.tokens for tree in trees], tokens):
        blocks = values(pack([trees[i] for i in part]).to(device)).cpu()
        found |= zip(part, blocks.split([len(trees[i].responses) for i in part]), strict=True)
    return torch.cat([found[i] for i in range(len(trees))])


def pack_states(model: Any, packed: Pack) -> Tensor:
    """The mean last state over the tokens of every response of a pack, `(R, D)` float32."""
    states = body_outputs(
        model, model.logp_body, packed.input_ids, packed.layout, position_ids=packed.position_ids
    )[1]
    own = states[0, packed.layout[0, 0, 1] > 0].float()
    total = own.new_zeros(packed.responses, own.shape[-1]).index_add(0, packed.owners, own)
    return total / packed.owners.bincount()[:, None]


def _told(reason: str | None) -> bool:
    if reason is not None:
        warnings.warn(f"train.packing is off: {reason}. Rows are padded instead.", stacklevel=2)
    return reason is None


def _trees(model: Any) -> list[Tree]:
    """Two prompts with two responses each, of ordinary tokens."""
    rows = probe.sample_batch(model, seed=5)[0].tolist()
    return [Tree(row[:3], (row[3:5], row[5:8])) for row in rows]


def _forest(model: Any) -> Any:
    return pack(_trees(model)).to(model.get_input_embeddings().weight.device)


def _sequences(model: Any) -> list[tuple[int, Tensor]]:
    """Every response with its prompt, `(1, L)`, and how long the prompt is."""
    device = model.get_input_embeddings().weight.device
    return [
        (len(tree.prompt), torch.tensor([[*tree.prompt, *response]], device=device))
        for tree in _trees(model)
        for response in tree.responses
    ]


def _alone(model: Any) -> Tensor:
    values = []
    for start, ids in _sequences(model):
        table = own_logits(model, ids, torch.ones_like(ids))[0, :-1].log_softmax(-1)
        values.append(table.gather(-1, ids[0, 1:, None])[start - 1 :].sum())
    return torch.stack(values)


def _outputs_alone(model: Any) -> Tensor:
    found = [own_logits(model, ids, torch.ones_like(ids))[0, 0] for _, ids in _sequences(model)]
    return torch.stack(found)
