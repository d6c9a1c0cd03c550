"""Density-ratio coefficients against random search and their relation to one another."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from spac_theory.concentrability.ratios import (
    every_policy_ratio,
    kl_ball_ratio,
    largest_ratio,
    mean_ratio,
)


def draw(seed, shape):
    rng = torch.Generator().manual_seed(seed)
    return torch.softmax(2 * torch.randn(*shape, generator=rng, dtype=torch.float64), -1)


@given(st.integers(0, 10_000), st.floats(0.01, 2.0))
def test_no_policy_of_the_ball_exceeds_its_coefficient(seed, radius):
    mu, rho = draw(seed, (3, 4)), draw(seed + 1, (3,))
    bound = kl_ball_ratio(mu, rho, radius)
    policies = draw(seed + 2, (2000, 3, 4))
    policies[:1000] = 0.7 * mu + 0.3 * policies[:1000]
    divergence = (rho[:, None] * policies * (policies / mu).log()).sum((1, 2))
    inside = policies[divergence <= radius]
    if len(inside):
        assert float((inside / mu).max()) <= bound + 1e-9
    assert bound <= every_policy_ratio(mu) + 1e-9


def test_the_ball_is_reached_and_grows_to_everything():
    mu, rho = torch.tensor([[0.25, 0.75]]).double(), torch.ones(1).double()
    p = 0.6
    radius = p * math.log(p / 0.25) + 0.4 * math.log(0.4 / 0.75)
    assert abs(kl_ball_ratio(mu, rho, radius) - p / 0.25) < 1e-9
    assert abs(kl_ball_ratio(mu, rho, 100.0) - 4) < 1e-9
    assert abs(kl_ball_ratio(mu, rho, 0.0) - 1) < 1e-6


@given(st.integers(0, 10_000))
def test_the_mean_ratio_lies_between_one_and_the_largest(seed):
    mu, pi, rho = draw(seed, (3, 4)), draw(seed + 9, (3, 4)), draw(seed + 5, (3,))
    assert 1 - 1e-12 <= mean_ratio(pi, mu, rho) <= largest_ratio(pi, mu) + 1e-12


def test_uncovered_actions_count_only_where_they_are_played():
    mu = torch.tensor([[0.0, 0.5, 0.5]]).double()
    rho = torch.ones(1).double()
    assert largest_ratio(torch.tensor([[0.0, 1.0, 0.0]]).double(), mu) == 2
    assert math.isinf(largest_ratio(torch.tensor([[1.0, 0.0, 0.0]]).double(), mu))
    assert mean_ratio(torch.tensor([[0.0, 1.0, 0.0]]).double(), mu, rho) == 2
