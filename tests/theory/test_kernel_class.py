"""Kernels against textbook formulas, and the class against the linear class and against packings."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import special

from spac_theory import Game, InputError, LinearClass, make_problem
from spac_theory.rewards.kernel import KernelClass, matern, polynomial, rbf
from spac_theory.saddle.solve import solve_saddle
from tests.theory.test_finite_class import random_game


@pytest.mark.parametrize("smoothness", [0.5, 1.5, 2.5])
def test_matern_is_the_general_formula(smoothness):
    """Against `2^{1−ν}/Γ(ν) s^ν K_ν(s)` with the modified Bessel function."""
    z = torch.linspace(0.05, 3, 40, dtype=torch.float64)[:, None]
    ours = matern(smoothness, 0.7)(z, torch.zeros(1, 1, dtype=torch.float64)).squeeze(-1)
    s = math.sqrt(2 * smoothness) * z.squeeze(-1).numpy() / 0.7
    front = 2 ** (1 - smoothness) / special.gamma(smoothness)
    assert np.allclose(ours.numpy(), front * s**smoothness * special.kv(smoothness, s), rtol=1e-10)


def test_linear_kernel_is_the_linear_class():
    game = random_game(5, (4, 3), 1, 200)
    features = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0)).double()
    classes = (LinearClass(features, 1.3), KernelClass.of(features, polynomial(1, 0.0), 1.3))
    values = [
        solve_saddle(
            Game(cls, game.data, game.lam, game.rho, game.baseline), 1e-10
        ).certificate.upper
        for cls in classes
    ]
    assert (values[0] - values[1]).abs().max() <= 1e-8
    assert classes[1].dimension == 2
    assert math.isclose(classes[0].difference_bound, classes[1].difference_bound, rel_tol=1e-9)


@pytest.mark.parametrize("kernel", [rbf(0.8), matern(2.5, 0.8), polynomial(3, 1.0)])
def test_rewards_elsewhere_extend_rewards_here(kernel):
    """At its own points a member is itself; elsewhere it is the interpolant of smallest norm."""
    points = torch.rand(4, 3, 2, generator=torch.Generator().manual_seed(1)).double()
    cls = KernelClass.of(points, kernel, 1.0)
    theta = torch.randn(2, cls.dimension, generator=torch.Generator().manual_seed(2)).double()
    here = torch.einsum("sd,xad->sxa", theta, cls.features)
    assert torch.allclose(cls.reward_at(theta, points), here, atol=1e-6)
    fresh = torch.rand(5, 3, 2, generator=torch.Generator().manual_seed(3)).double()
    flat, new = points.flatten(0, 1), fresh.flatten(0, 1)
    gram = kernel(flat, flat)
    weights = torch.linalg.lstsq(gram, here.flatten(1).T, driver="gelsd").solution
    expected = (kernel(new, flat) @ weights).T.reshape(2, 5, 3)
    assert torch.allclose(cls.reward_at(theta, fresh), expected, atol=1e-4)


def test_covering_number_is_above_a_packing():
    """A set of members more than `ε` apart needs as many balls of radius `ε/2`."""
    cls = make_problem("kernel", contexts=3, actions=3, length=1.5).reward_class
    theta = torch.zeros(4000, cls.dimension, dtype=torch.float64)
    # the leading directions are those in which the class is large
    theta[:, :3] = torch.randn(4000, 3, generator=torch.Generator().manual_seed(4)).double()
    theta = theta / theta.norm(dim=-1, keepdim=True)
    rewards = torch.einsum("sd,xad->sxa", theta, cls.features).flatten(1)
    for epsilon in (0.1, 0.3):
        packed = rewards[:1]
        for reward in rewards[1:]:
            if (packed - reward).abs().amax(-1).min() > epsilon:
                packed = torch.cat([packed, reward[None]])
        assert math.log(len(packed)) <= cls.log_covering(epsilon / 2)
        assert len(packed) > 3


def test_bad_kernels_are_refused():
    points = torch.rand(2, 3, 2, generator=torch.Generator().manual_seed(5)).double()
    with pytest.raises(InputError, match="positive semidefinite"):
        KernelClass.of(points, lambda z, y: -rbf()(z, y), 1.0)
    with pytest.raises(InputError, match="smoothness"):
        matern(0.7)
