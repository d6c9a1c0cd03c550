"""The batched minimiser against quadratics, SciPy, and its own promises."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from spac_theory.learning.optimise import minimise, value_and_gradient
from spac_theory.objective import tabular_preference_loss


@given(st.integers(0, 10_000), st.integers(1, 6), st.floats(0, 4))
@settings(max_examples=25, deadline=None)
def test_minimises_quadratics_of_any_scale(seed, dimension, spread):
    rng = torch.Generator().manual_seed(seed)
    root = torch.randn(5, dimension, dimension, generator=rng, dtype=torch.float64)
    scale = 10.0 ** (spread * torch.rand(5, 1, 1, generator=rng, dtype=torch.float64) - 2)
    matrix = scale * (root @ root.transpose(1, 2) + torch.eye(dimension))
    target = torch.randn(5, dimension, generator=rng, dtype=torch.float64)

    def objective(x, m, c):
        return 0.5 * ((x - c).unsqueeze(1) @ m @ (x - c).unsqueeze(2)).flatten()

    found = minimise(objective, torch.zeros(5, dimension, dtype=torch.float64), [matrix, target])
    assert found.converged.all()
    assert torch.allclose(found.point, target, atol=1e-5)


def test_a_lane_does_not_see_the_others():
    start = torch.tensor([[3.0, -1.0], [0.1, 0.2], [-2.0, 5.0]], dtype=torch.float64)

    def rosenbrock(x):
        return (1 - x[:, 0]) ** 2 + 20 * (x[:, 1] - x[:, 0] ** 2) ** 2

    together = minimise(rosenbrock, start)
    alone = [minimise(rosenbrock, row[None]) for row in start]
    assert torch.equal(together.point, torch.cat([m.point for m in alone]))
    assert torch.allclose(together.point, torch.ones(3, 2, dtype=torch.float64), atol=1e-4)


def test_agrees_with_scipy_on_a_preference_loss():
    wins = torch.tensor([[[[0, 5, 2], [3, 0, 4], [1, 2, 0]]]], dtype=torch.float64) / 17

    def objective(x, w):
        return tabular_preference_loss(x[:, None, None], w[:, None]).flatten() + 0.01 * (x**2).sum(
            -1
        )

    found = minimise(objective, torch.zeros(1, 3, dtype=torch.float64), [wins[0]])

    def scalar(x):
        value, gradient = value_and_gradient(objective, torch.from_numpy(x)[None], [wins[0]])
        return float(value), gradient[0].numpy()

    reference = minimize(scalar, np.zeros(3), jac=True, method="L-BFGS-B", options={"gtol": 1e-12})
    assert np.allclose(found.point[0].numpy(), reference.x, atol=1e-6)


def test_a_flat_lane_stays_where_it_is():
    found = minimise(lambda x: 0 * x.sum(-1), torch.ones(2, 3, dtype=torch.float64))
    assert torch.equal(found.point, torch.ones(2, 3, dtype=torch.float64))
