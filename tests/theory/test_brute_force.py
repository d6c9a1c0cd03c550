"""Tiny games by brute force: a grid of policies against a fine grid of rewards."""

import itertools

import pytest
import torch

from spac_theory import Game, LinearClass, WinnerCounts, fast_saddle, tabular_class

SETTINGS = [
    (2, 0.0, 81, 80),
    (2, 0.5, 81, 80),
    (2, 2.0, 81, 80),
    (3, 0.3, 31, 20),
    (3, 1.5, 31, 20),
]


def tiny(actions, lam, cls=None):
    """One context with uneven wins; the last action is never compared."""
    wins = torch.zeros(1, 1, actions, actions, dtype=torch.int64)
    wins[0, 0, 0, 1], wins[0, 0, 1, 0], wins[0, 0, 0, 0] = 5, 3, 2
    baseline = torch.full((1, actions), 1 / actions, dtype=torch.float64)
    cls = cls or tabular_class(1, actions, reward_range=(0.0, 1.0))
    one = torch.ones(1, dtype=torch.float64)
    return Game(cls, WinnerCounts(wins), torch.tensor([lam]), one, baseline)


def simplex_grid(actions, steps):
    grid = [p for p in itertools.product(range(steps + 1), repeat=actions) if sum(p) == steps]
    return torch.tensor(grid, dtype=torch.float64) / steps


def grid_values(game, rewards, policies):
    """`G(π, r)` on both grids from the formula, `(policies, rewards)`."""
    margin = rewards[:, :, None] - rewards[:, None, :]
    fraction = game.data.fraction[0, 0]
    loss = (fraction * torch.log1p(torch.exp(-margin))).sum((-2, -1))
    return (policies - game.baseline) @ rewards.T + game.lam * loss


@pytest.mark.parametrize(("actions", "lam", "points", "steps"), SETTINGS)
def test_table_with_a_range(actions, lam, points, steps):
    """Grids move the value by at most their Lipschitz constants times half their spacing.

    `G` changes by at most `2 + 2λ` per unit of `‖r‖_∞`, and by `R = 1` per unit of total variation.
    """
    game = tiny(actions, lam)
    axis = torch.linspace(0, 1, points, dtype=torch.float64)
    rewards = torch.cartesian_prod(*[axis] * actions)
    values = grid_values(game, rewards, simplex_grid(actions, steps))
    spacing = 1 / (points - 1)
    certificate = fast_saddle(game).certificate
    max_min = float(values.min(1).values.max())
    min_max = float(values.max(0).values.min())  # vertices are on the grid: the max is exact
    error_r, error_p = (1 + lam) * spacing, actions / (2 * steps)
    assert max_min <= float(certificate.upper) + error_r
    assert max_min >= float(certificate.lower) - error_p
    assert float(certificate.lower) - 1e-9 <= min_max <= float(certificate.upper) + error_r


@pytest.mark.parametrize("lam", [0.0, 0.7, 3.0])
def test_two_parameters_in_a_disc(lam):
    """A disc of parameters in polar coordinates, two-dimensional features of three actions."""
    features = torch.tensor([[[1.0, 0.2], [-0.3, 0.9], [0.5, -1.1]]], dtype=torch.float64)
    game = tiny(3, lam, LinearClass(features, norm_bound=1.5))
    radius = torch.linspace(0, 1.5, 151, dtype=torch.float64)
    angle = torch.linspace(0, 2 * torch.pi, 721, dtype=torch.float64)
    r, t = torch.meshgrid(radius, angle, indexing="ij")
    theta = torch.stack([r * t.cos(), r * t.sin()], -1).flatten(0, 1)
    vertices = torch.eye(3, dtype=torch.float64)
    upper = float(grid_values(game, theta @ features[0].T, vertices).max(0).values.min())
    certificate = fast_saddle(game).certificate
    spread = float(torch.cdist(features[0], features[0]).max())
    error = (1 + lam) * spread * (0.01 / 2 + 1.5 * torch.pi / 720)
    assert float(certificate.lower) - 1e-9 <= upper <= float(certificate.upper) + error


def test_known_equilibrium_is_exact():
    """No data term, `ν` uniform on two actions: the critic flattens, the value is exactly 0."""
    certificate = fast_saddle(tiny(2, 0.0)).certificate
    assert abs(float(certificate.lower)) < 1e-8
    assert abs(float(certificate.upper)) < 1e-8
