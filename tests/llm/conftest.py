"""Language-model tests run offline, on one thread."""

import os

import pytest
import torch
from torch import nn

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"


def tiny_mistral(
    vocab: int = 24, seed: int = 0, dtype: torch.dtype = torch.float32, layers: int = 2
) -> torch.nn.Module:
    """A random two-layer Mistral; in float64 every operation really is float64."""
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(seed)
    config = MistralConfig(
        vocab_size=vocab,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        sliding_window=None,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        attn_implementation="sdpa",
    )
    model = MistralForCausalLM(config).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0)  # away from the uniform distribution
    if dtype == torch.float64:
        _replace_norms(model)
    return model


def _replace_norms(module: nn.Module) -> None:
    """Mistral's own norm rounds to float32 inside; torch's does not."""
    for name, child in module.named_children():
        if child.__class__.__name__ == "MistralRMSNorm":
            size = len(child.weight)
            norm = nn.RMSNorm(size, eps=child.variance_epsilon, dtype=torch.float64)
            norm.weight = child.weight
            setattr(module, name, norm)
        else:
            _replace_norms(child)


@pytest.fixture
def tiny():
    """The factory of tiny Mistral models."""
    return tiny_mistral
