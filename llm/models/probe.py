"""Whether a model can score text, found out on a small batch before any work starts.

Two questions are put to the model itself, not to a list of names: do its logits at a token stay as
they are when later tokens change, and do its states alone give its logits?
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from llm.models.bodies import body_outputs, logits_of_states, outermost_calls, own_logits
from spac_theory.checks import InputError

ROWS, LENGTH, LATER = 2, 8, 2
UNKNOWN = "not probed yet"


def has_weights(model: Any) -> bool:
    """Whether the weights are here: not on the meta device, not sharded, not to be filled later."""
    from torch.distributed.tensor import DTensor
    from transformers.integrations.fsdp import is_fsdp_enabled

    here = all(not p.is_meta and not isinstance(p, DTensor) for p in model.parameters())
    return here and not is_fsdp_enabled()


def find_body(model: Any) -> str | None:
    """Path of the body whose states alone give the model's logits, or None (said in a warning).

    Raises InputError if the model is not a causal one.
    """
    _refuse_encoder_decoder(model.config, model.name_or_path)
    with quietly(model):
        ids, attention = sample_batch(model, seed=0)
        called, logits = outermost_calls(model, ids, attention)
        _require_causal(model, ids, attention, logits)
        for body in _by_size(model, called):
            if _states_give_logits(model, body, ids, attention, logits):
                return body
    warnings.warn(
        f"{_named(model)} treats positions together after its body, so its log-probs are taken "
        "from its full logits, one row at a time: exact, but slower and with more memory.",
        stacklevel=2,
    )
    return None


def require_causal_configuration(config: Any, name: str) -> None:
    """Refuse what is no causal language model by its configuration, before weights are read."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL

    _refuse_encoder_decoder(config, name)
    if config.model_type not in CAUSAL:
        raise InputError(
            f"model.name is {name!r}, of type {config.model_type}, for which this transformers has "
            "no causal language model; name a decoder-only (causal) model."
        )


def _refuse_encoder_decoder(config: Any, name: str) -> None:
    if getattr(config, "is_encoder_decoder", False):
        raise InputError(
            f"model.name is {name!r}, an encoder-decoder ({config.model_type}); a policy here "
            "scores prompt and answer as one text, so name a decoder-only (causal) model."
        )


def takes(model: Any, name: str) -> bool:
    """Whether the model's own forward pass has an argument of this name."""
    return name in inspect.signature(type(model).forward).parameters


def packed_alike(model: Any) -> bool:
    """Whether two texts in one row, told apart by positions alone, have the logits of each alone."""
    with quietly(model):
        ids, attention = sample_batch(model, seed=4)
        one, two = ids[:1], ids[1:]
        steps = torch.arange(LENGTH, device=ids.device)[None]
        apart = torch.cat([own_logits(model, text, attention[:1]) for text in (one, two)], 1)
        try:
            together = type(model).forward(
                model,
                input_ids=torch.cat([one, two], 1),
                position_ids=torch.cat([steps, steps], 1),
                use_cache=False,
            )
        except (RuntimeError, TypeError, ValueError):
            return False
    return alike(apart, together.logits)


def _require_causal(model: Any, ids: Tensor, attention: Tensor, logits: Tensor) -> None:
    vocabulary = logits.ndim == 3 and logits.shape[:2] == ids.shape
    if not vocabulary:
        raise InputError(
            f"{_named(model)} gives logits of shape {tuple(logits.shape)} for tokens of shape "
            f"{tuple(ids.shape)}; name a model with one row of logits a token."
        )
    early = slice(0, LENGTH - LATER)
    for seed in (1, 2, 3):  # rounding may move a token to another expert; no three times
        other = ids.clone()
        other[:, -LATER:] = sample_batch(model, seed)[0][:, -LATER:]
        if alike(logits[0, early], own_logits(model, other, attention)[0, early]):
            return
    raise InputError(
        f"{_named(model)} looks at later tokens: its predictions change with what follows, so it "
        f"has no log π(y|x); name a causal model{_remedy(model)}."
    )


def _remedy(model: Any) -> str:
    """Families such as BERT's are causal if their configuration says so."""
    encoder = getattr(model.config, "is_decoder", True) is False
    return " (for this family, one whose config.json has is_decoder: true)" if encoder else ""


def _states_give_logits(
    model: Any, body: str, ids: Tensor, attention: Tensor, logits: Tensor
) -> bool:
    keep = attention.bool()
    try:
        outputs, states = body_outputs(model, body, ids, attention)
        got = logits_of_states(model, body, type(outputs), states[keep])
    except Exception:  # whatever a stand-in breaks, the full logits still work
        return False
    return alike(logits[keep], got)


def alike(a: Tensor, b: Tensor) -> bool:
    """Equal up to half the digits of the dtype, measured by how much the logits vary."""
    tolerance = torch.finfo(a.dtype).eps ** 0.5 * _spread(a)
    close = (a - b).abs() <= tolerance
    return bool((close | (a == b) | (a.isnan() & b.isnan())).all())


def _spread(logits: Tensor) -> Tensor:
    """Median distance from the median: vocabulary that a model masks out does not count."""
    values = logits.flatten().double()
    return (values - values.median()).abs().median()


def sample_batch(model: Any, seed: int) -> tuple[Tensor, Tensor]:
    """Random tokens that mean nothing special to the model; the second row ends in padding."""
    config = model.config.get_text_config()
    special = {v for k, v in config.to_dict().items() if k.endswith("_id") and isinstance(v, int)}
    ordinary = torch.tensor([i for i in range(min(config.vocab_size, 4096)) if i not in special])
    generator = torch.Generator().manual_seed(seed)
    ids = ordinary[torch.randint(len(ordinary), (ROWS, LENGTH), generator=generator)]
    attention = torch.ones_like(ids)
    attention[1, -LATER:] = 0
    device = model.get_input_embeddings().weight.device
    return ids.to(device), attention.to(device)


def _by_size(model: Any, called: list[str]) -> list[str]:
    """The called modules that hold others, those with most modules first."""
    count = {path: len(list(model.get_submodule(path).modules())) for path in called}
    return sorted((p for p in count if count[p] > 1), key=lambda p: -count[p])


@contextmanager
def quietly(model: Any) -> Iterator[None]:
    """No gradients and no dropout inside; the modes of all modules are put back afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _named(model: Any) -> str:
    return f"model.name is {model.name_or_path!r}: {type(model).__name__}"
