"""Chunked sequence log-probs against the full log-softmax of the plain forward pass."""

import copy

import pytest
import torch
from torch import nn

from llm.data.padding import pad
from llm.models.logprobs import chunked_logps, sequence_logps, token_logps, with_logps

PROMPTS = [[1, 5, 6], [1, 7], [1, 8, 9, 10]]
RESPONSES = [[11, 12, 2], [13, 2], [14, 15, 16, 17]]


def plain(model, batch):
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    logps = logits[:, :-1].double().log_softmax(-1)
    picked = logps.gather(-1, batch["input_ids"][:, 1:, None]).squeeze(-1)
    return (picked * batch["completion_mask"][:, 1:]).sum(-1)


@pytest.mark.parametrize("chunk", [1, 4, 1000])
def test_values_and_gradients_equal_the_full_log_softmax(tiny, chunk):
    model = with_logps(tiny(dtype=torch.float64))
    batch = pad(PROMPTS, RESPONSES, 0)
    weights = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    gradients = []
    for values in (sequence_logps(model, **batch, chunk=chunk), plain(model, batch)):
        model.zero_grad()
        (weights * values).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    torch.testing.assert_close(
        sequence_logps(model, **batch), plain(model, batch), rtol=1e-12, atol=0
    )
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-9, atol=1e-12)


def test_padding_does_not_change_a_row(tiny):
    model = with_logps(tiny(dtype=torch.float64))
    together = sequence_logps(model, **pad(PROMPTS, RESPONSES, 0))
    alone = [
        sequence_logps(model, **pad([p], [r], 0)) for p, r in zip(PROMPTS, RESPONSES, strict=False)
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-12, atol=0)


def test_bf16_logits_are_summed_in_float32():
    """A flat bf16 softmax over 32,000 words is exact only if the log-sum-exp is wide."""
    logits = torch.zeros(3, 32000, dtype=torch.bfloat16)
    values = token_logps(logits, torch.tensor([0, 5, 31999]))
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, torch.full((3,), -torch.tensor(32000.0).log()))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_gradient_of_picked_log_probs_is_that_of_a_softmax(dtype, monkeypatch):
    """Slices of two rows, words that are masked out, weights of both signs; against torch's own."""
    monkeypatch.setattr("llm.models.logprobs.SLICE", 14)
    torch.manual_seed(0)
    start = torch.randn(5, 7, dtype=torch.float64)
    start[:, 3] = -torch.inf
    targets, weights = torch.tensor([0, 6, 2, 2, 5]), torch.randn(5, dtype=torch.float64)
    ours, theirs = (start.to(dtype, copy=True).requires_grad_() for _ in range(2))
    wide = torch.promote_types(dtype, torch.float32)
    found = token_logps(ours, targets)
    expected = theirs.to(wide).log_softmax(-1).gather(-1, targets[:, None]).squeeze(-1)
    assert found.dtype == wide
    for values in (found, expected):
        (values * weights.to(wide)).sum().backward()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_only_one_chunk_of_logits_exists_at_a_time():
    sizes = []

    class Head(nn.Linear):
        def forward(self, x):
            sizes.append(len(x))
            return super().forward(x)

    head = Head(8, 50)
    hidden = torch.randn(23, 8, requires_grad=True)
    chunked_logps(head, hidden, torch.zeros(23, dtype=torch.long), 10).sum().backward()
    assert sizes == [10, 10, 3] * 2 or sorted(sizes) == sorted([10, 10, 3] * 2)
    assert max(sizes) == 10


def test_a_copy_of_the_model_uses_its_own_weights(tiny):
    model = with_logps(tiny())
    clone = copy.deepcopy(model)
    with torch.no_grad():
        clone.lm_head.weight.zero_()
    batch = pad(PROMPTS, RESPONSES, 0)
    lengths = torch.tensor([3.0, 2.0, 4.0])
    torch.testing.assert_close(sequence_logps(clone, **batch), -lengths * torch.tensor(24.0).log())


def test_the_plain_forward_and_generation_still_work(tiny):
    model = with_logps(tiny())
    ids = torch.tensor([[1, 5, 6]])
    out = model.generate(ids, max_new_tokens=3, do_sample=False, pad_token_id=0)
    assert out.shape[1] <= 6
    assert model(ids).logits.shape == (1, 3, 24)
