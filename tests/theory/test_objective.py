"""The objective's derivatives by finite differences and autograd, its values by plain loops."""

import math

import pytest
import torch

from experiments.claims.games.instances import random_simplex
from spac_theory.keys import generator
from spac_theory.links import LINKS
from spac_theory.objective import (
    LARGEST_INCIDENCE,
    PreferenceGradient,
    tabular_game,
    tabular_preference_derivatives,
    tabular_preference_gradient,
    tabular_preference_loss,
    tabular_relative_value,
)

links = pytest.mark.parametrize("link", LINKS.values(), ids=list(LINKS))


def pieces(seed, contexts=3, actions=4):
    rng = generator("objective", seed)
    reward = torch.from_numpy(rng.normal(0, 2, (contexts, actions)))
    wins = torch.from_numpy(rng.integers(0, 6, (contexts, actions, actions))).to(torch.float64)
    policy, baseline = (random_simplex(rng, contexts, actions) for _ in range(2))
    return reward, wins / wins.sum(), policy, baseline, random_simplex(rng, contexts)


@pytest.mark.parametrize("seed", range(5))
def test_game_by_plain_loops(seed):
    """Theory (1)–(3) written out over single comparisons."""
    reward, fraction, policy, baseline, rho = pieces(seed)
    loss, relative = 0.0, 0.0
    contexts, actions = reward.shape
    for x in range(contexts):
        for a in range(actions):
            relative += float(rho[x] * (policy[x, a] - baseline[x, a]) * reward[x, a])
            for b in range(actions):
                margin = float(reward[x, a] - reward[x, b])
                loss += float(fraction[x, a, b]) * math.log1p(math.exp(-margin))
    value = tabular_game(reward, policy, baseline, rho, fraction, 1.7)
    assert float(tabular_preference_loss(reward, fraction)) == pytest.approx(loss, abs=1e-13)
    assert float(tabular_relative_value(reward, policy, baseline, rho)) == pytest.approx(
        relative, abs=1e-13
    )
    assert float(value) == pytest.approx(relative + 1.7 * loss, abs=1e-13)


@links
@pytest.mark.parametrize("seed", range(3))
def test_gradient_by_autograd(link, seed):
    reward, fraction, *_ = pieces(seed)
    point = reward.clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(tabular_preference_loss(point, fraction, link), point)
    alone = tabular_preference_gradient(reward, fraction, link)
    both, _ = tabular_preference_derivatives(reward, fraction, link)
    torch.testing.assert_close(
        PreferenceGradient(fraction, link)(reward), expected, rtol=1e-11, atol=1e-13
    )
    torch.testing.assert_close(alone, expected, rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(both, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("actions", [2, LARGEST_INCIDENCE, LARGEST_INCIDENCE + 1])
def test_gradient_of_fixed_counts_at_any_number_of_actions(actions):
    rng = torch.Generator().manual_seed(actions)
    reward = torch.randn(2, 3, actions, generator=rng, dtype=torch.float64, requires_grad=True)
    fraction = torch.rand(2, 3, actions, actions, generator=rng, dtype=torch.float64)
    (expected,) = torch.autograd.grad(tabular_preference_loss(reward, fraction).sum(), reward)
    found = PreferenceGradient(fraction)(reward.detach())
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)


@links
def test_gradient_by_central_differences(link):
    reward, fraction, *_ = pieces(9)
    gradient, step = tabular_preference_gradient(reward, fraction, link), 1e-6
    for index in range(reward.numel()):
        moved = torch.zeros(reward.numel(), dtype=torch.float64)
        moved[index] = step
        moved = moved.reshape(reward.shape)
        up, down = (tabular_preference_loss(reward + s * moved, fraction, link) for s in (1, -1))
        assert float((up - down) / (2 * step)) == pytest.approx(
            float(gradient.flatten()[index]), abs=1e-8
        )


@links
@pytest.mark.parametrize("seed", range(3))
def test_hessian_by_autograd_and_as_a_laplacian(link, seed):
    reward, fraction, *_ = pieces(seed)
    full = torch.autograd.functional.hessian(
        lambda r: tabular_preference_loss(r, fraction, link), reward
    )
    _, blocks = tabular_preference_derivatives(reward, fraction, link)
    for x in range(len(reward)):
        torch.testing.assert_close(blocks[x], full[x, :, x], rtol=1e-7, atol=1e-11)
        others = [y for y in range(len(reward)) if y != x]
        assert full[x][:, others].abs().max() == 0
    assert blocks.sum(-1).abs().max() < 1e-14
    assert torch.linalg.eigvalsh(blocks).min() > -1e-14


def test_a_zero_count_is_a_removed_row():
    reward, fraction, *_ = pieces(1)
    fraction = fraction.clone()
    fraction[1] = 0.0
    without = tabular_preference_loss(reward[[0, 2]], fraction[[0, 2]])
    torch.testing.assert_close(tabular_preference_loss(reward, fraction), without)
