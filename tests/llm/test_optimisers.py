"""AdamW with moments in bfloat16: rounding without bias, the steps of AdamW, and a resumed run."""

import copy
import dataclasses

import pytest
import torch

from llm.run import composed
from llm.settings import Settings, build
from llm.training.optimisers import AdamWBf16, rounded
from llm.training.settings import arguments
from llm.training.trainer import SequenceTrainer


def test_rounding_takes_a_neighbour_and_is_right_in_the_mean():
    draws = 20000
    for value in (1.003, -0.7311, 3e-5, 0.0, 1.0):
        generator = torch.Generator().manual_seed(1)
        exact = torch.tensor(value)
        found = rounded(exact.expand(draws), generator).double()
        below = (exact.view(torch.int32) & -(2**16)).view(torch.float32)
        above = ((exact.view(torch.int32) & -(2**16)) + 2**16).view(torch.float32)
        assert set(found.tolist()) <= {float(below), float(above)}
        spread = float((above - below).abs()) / 2
        assert abs(float(found.mean()) - float(exact)) < 5 * spread / draws**0.5


def weights_after(optimiser, steps, **options):
    """Least squares with noise in the gradient, the same noise for every optimiser."""
    generator = torch.Generator().manual_seed(0)
    target = torch.linspace(-1, 1, 64)
    weight = torch.nn.Parameter(torch.zeros(64))
    chosen, losses = optimiser([weight], lr=0.01, weight_decay=0.01, **options), []
    for _ in range(steps):
        chosen.zero_grad()
        loss = ((weight - target) ** 2).sum() / 2
        loss.backward()
        weight.grad += 0.3 * torch.randn(64, generator=generator)
        chosen.step()
        losses.append(float(loss.detach()))
    return torch.tensor(losses), weight.detach()


def test_the_loss_falls_as_with_float32():
    ours, weight = weights_after(AdamWBf16, 400)
    exact, other = weights_after(torch.optim.AdamW, 400)
    assert exact[-1] < 0.05 * exact[0]
    assert (ours - exact).abs().max() < 0.02 * exact[0]
    torch.testing.assert_close(weight, other, rtol=0, atol=0.05)


def test_the_second_moment_moves_although_a_step_is_below_the_last_bit():
    """`v → g²`; rounded to the nearest it stops where a step is half a last bit, far from there."""
    weight = torch.nn.Parameter(torch.zeros(4096))
    optimiser = AdamWBf16([weight], lr=0.0)
    for _ in range(2000):
        weight.grad = torch.full((4096,), 2.0)
        optimiser.step()
    second = optimiser.state[weight]["exp_avg_sq"]
    assert second.dtype == torch.bfloat16
    assert float(second.float().mean()) == pytest.approx(4 * (1 - 0.999**2000), rel=2e-3)
    stuck = torch.zeros((), dtype=torch.bfloat16)
    for _ in range(2000):
        stuck = (0.999 * stuck.float() + 0.004).to(torch.bfloat16)
    assert float(stuck) < 0.5 * float(second.float().mean())


def test_a_resumed_run_goes_on_as_before():
    first = torch.nn.Parameter(torch.ones(8))
    optimiser = AdamWBf16([first], lr=0.1)
    for _ in range(3):
        first.grad = first.detach() + 0.3
        optimiser.step()
    second = torch.nn.Parameter(first.detach().clone())
    resumed = AdamWBf16([second], lr=0.1)
    resumed.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    assert resumed.state[second]["exp_avg"].dtype == torch.bfloat16
    for weight, chosen in ((first, optimiser), (second, resumed)):
        weight.grad = torch.full((8,), 0.7)
        chosen.step()
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_the_setting_reaches_the_trainer(tmp_path):
    plan = build(Settings, composed("run", "train.optimiser=adamw_bf16"))
    kind, options = SequenceTrainer.get_optimizer_cls_and_kwargs(arguments(plan.train, tmp_path, 1))
    assert kind is AdamWBf16
    assert options["betas"] == (0.9, 0.999)
    plain = dataclasses.replace(plan.train, optimiser="adamw")
    kind, _ = SequenceTrainer.get_optimizer_cls_and_kwargs(arguments(plain, tmp_path, 1))
    assert kind is torch.optim.AdamW
