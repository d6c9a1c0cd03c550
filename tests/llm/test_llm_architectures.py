"""Log-probs of every causal architecture of the installed transformers, against its own logits."""

import copy
import warnings

import pytest
import torch
from small_models import BIDIRECTIONAL, CAUSAL, FLOAT32, NOT_BUILT, NOT_CAUSAL, small_model

from llm.models.logprobs import sequence_logps, with_logps
from spac_theory.checks import InputError

RIGHT = sorted(set(CAUSAL) - set(NOT_BUILT) - NOT_CAUSAL)
# One of each kind of thing that happens after a body, and of each kind of body.
SOME = ["cohere2", "gemma2", "gpt2", "granitemoe", "gptj", "mamba", "minicpm3", "opt", "prophetnet"]


def batch():
    """Three rows, the second padded, with answers of different lengths."""
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(3, 90, (3, 12), generator=generator)
    attention = torch.ones_like(ids)
    attention[1, 9:] = 0
    completion = attention.clone()
    completion[:, :5] = 0
    completion[2, :8] = 0
    return {"input_ids": ids, "attention_mask": attention, "completion_mask": completion}


def full(model, input_ids, attention_mask, completion_mask):
    """The definition: the log-softmax of the model's own logits, picked and summed."""
    logits = model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits
    picked = logits[:, :-1].log_softmax(-1).gather(-1, input_ids[:, 1:, None]).squeeze(-1)
    return (picked * completion_mask[:, 1:]).sum(-1)


def scoring(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # prophetnet says that it is scored row by row
        return with_logps(small_model(name))


@pytest.mark.parametrize("name", RIGHT)
def test_log_probs_are_those_of_the_models_own_logits(name):
    model, rows = small_model(name), batch()
    with torch.no_grad():
        expected = full(model, **rows)
        values = sequence_logps(scoring(name), **rows, chunk=4)
    assert values.dtype == expected.dtype
    exact = expected.dtype == torch.float64
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-8 if exact else 1e-4)


def test_what_is_left_out_is_little_and_named():
    left_out = set(NOT_BUILT) | NOT_CAUSAL
    assert left_out < set(CAUSAL)
    assert len(left_out) <= 12
    assert len(set(RIGHT) - FLOAT32) >= 150


@pytest.mark.parametrize("name", SOME)
def test_gradients_are_those_of_the_models_own_logits(name):
    model, rows = scoring(name), batch()
    whole = copy.deepcopy(model)
    for values in (sequence_logps(model, **rows, chunk=4), full(whole, **rows)):
        (torch.tensor([1.0, -2.0, 0.5], dtype=values.dtype) * values).sum().backward()
    tolerance = 1e-10 if values.dtype == torch.float64 else 1e-4
    pairs = zip(model.named_parameters(), whole.parameters(), strict=True)
    compared = [(path, p.grad, q.grad) for (path, p), q in pairs if q.grad is not None]
    assert len(compared) > 5
    for path, found, expected in compared:
        assert (found - expected).norm() <= tolerance * (1 + expected.norm()), path


@pytest.mark.parametrize("name", [*BIDIRECTIONAL, *sorted(NOT_CAUSAL)])
def test_a_model_that_sees_later_tokens_is_refused(name):
    model = small_model(name, is_decoder=False) if name in BIDIRECTIONAL else small_model(name)
    with pytest.raises(InputError, match=r"model\.name is .*looks at later tokens") as caught:
        with_logps(model)
    assert "\n" not in str(caught.value)
