"""Covering numbers against nets that are built: they cover, and they are no larger than claimed."""

import math

import pytest
import torch

from spac_theory import LinearClass, tabular_class
from spac_theory.keys import generator
from spac_theory.rewards.kernel import KernelClass, rbf


def packing(points, radius):
    """A maximal `radius`-separated subset in the sup norm: a net of `points` by its own members."""
    chosen = points[:1]
    for point in points[1:]:
        if float((chosen - point).abs().amax(-1).min()) > radius:
            chosen = torch.cat([chosen, point[None]])
    return chosen


def ball_grid(dimension, radius, steps):
    """A grid of a ball and of its sphere, spacing `radius / steps`."""
    axis = torch.linspace(-radius, radius, 2 * steps + 1, dtype=torch.float64)
    if dimension == 1:
        return axis[:, None]
    points = torch.cartesian_prod(axis, axis)
    angle = torch.linspace(0, 2 * math.pi, 8 * steps, dtype=torch.float64)
    sphere = radius * torch.stack([angle.cos(), angle.sin()], -1)
    return torch.cat([points[points.norm(dim=-1) <= radius], sphere])


def disc(rng, count, dimension, radius):
    """Random points of a ball, a quarter of them on its sphere."""
    direction = torch.from_numpy(rng.standard_normal((count, dimension)))
    direction = direction / direction.norm(dim=-1, keepdim=True)
    length = torch.from_numpy(rng.uniform(0, 1, (count, 1))) ** (1 / dimension)
    length[: count // 4] = 1.0
    return radius * length * direction


@pytest.mark.parametrize("dimension", [1, 2])
@pytest.mark.parametrize("epsilon", [0.1, 0.4, 3.0])
def test_ball(dimension, epsilon):
    rng = generator("net", dimension)
    features = torch.from_numpy(rng.standard_normal((2, 3, dimension)))
    cls = LinearClass(features, norm_bound=1.5)
    rows = features.flatten(0, 1)
    net = packing(ball_grid(dimension, 1.5, 40) @ rows.T, epsilon)
    fresh = disc(rng, 3000, dimension, 1.5) @ rows.T
    slack = 1.5 / 40 * float(rows.norm(dim=-1).max())  # the grid it was chosen from
    assert float(torch.cdist(fresh, net, p=math.inf).min(-1).values.max()) <= epsilon + slack
    assert math.log(len(net)) <= cls.log_covering(epsilon) + 1e-12


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-0.3, 1.7)])
@pytest.mark.parametrize("epsilon", [0.05, 0.13, 0.9])
def test_table_with_a_range_has_its_grid(bounds, epsilon):
    """`⌈w/(2ε)⌉` midpoints a cell: members, within `ε` of everything, and exactly as many."""
    low, high = bounds
    cells = math.ceil((high - low) / (2 * epsilon))
    width = (high - low) / cells
    axis = torch.tensor([low + width * (k + 0.5) for k in range(cells)], dtype=torch.float64)
    net = torch.cartesian_prod(axis, axis)
    cls = tabular_class(1, 2, reward_range=bounds)
    values = torch.from_numpy(generator("grid").uniform(low, high, (4000, 2)))
    assert float(torch.cdist(values, net, p=math.inf).min(-1).values.max()) <= epsilon
    assert math.log(len(net)) == pytest.approx(cls.log_covering(epsilon))


@pytest.mark.parametrize("epsilon", [0.1, 0.3])
def test_linear_range_and_the_intersection_with_a_ball(epsilon):
    rng = generator("range net")
    features = torch.from_numpy(rng.standard_normal((2, 2, 2)))
    rows = features.flatten(0, 1)
    theta = ball_grid(2, 2.0, 100)
    rewards = theta @ rows.T
    fits = ((rewards >= -0.6) & (rewards <= 1.0)).all(-1)
    boxed, inside = rewards[fits], rewards[fits & (theta.norm(dim=-1) <= 0.4)]
    assert len(boxed) > len(inside) > 300
    range_only = LinearClass(features, reward_range=(-0.6, 1.0))
    assert math.log(len(packing(boxed, epsilon))) <= range_only.log_covering(epsilon)
    small = LinearClass(features, 0.4, (-0.6, 1.0))
    assert math.log(len(packing(inside, epsilon))) <= small.log_covering(epsilon)
    assert small.log_covering(epsilon) <= range_only.log_covering(epsilon)


@pytest.mark.parametrize("epsilon", [0.05, 0.3])
def test_kernel_ball(epsilon):
    points = torch.from_numpy(generator("points").uniform(0, 1, (3, 2, 1)))
    cls = KernelClass.of(points, rbf(0.8), 1.0)
    rows = cls.features.flatten(0, 1)
    theta = disc(generator("kernel net"), 3000, rows.shape[1], 1.0)
    assert math.log(len(packing(theta @ rows.T, epsilon))) <= cls.log_covering(epsilon)
