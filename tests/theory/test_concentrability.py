"""Concentrability (8): closed forms, brute force over rewards and over policies, laws of coverage."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg

from experiments.claims.games.instances import random_simplex
from spac_theory import LinearClass, coverage, make_problem, pair_law, tabular_class
from spac_theory.concentrability.classes import Design, concentrability_of, seen
from spac_theory.concentrability.linear import (
    all_policy_concentrability,
    pair_covariance,
    single_policy_concentrability,
)
from spac_theory.keys import generator
from spac_theory.rewards.finite import FiniteClass
from spac_theory.rewards.linear import one_hot_features

seeds = st.integers(0, 10_000)


def chi_square(policy, behaviour, rho):
    """`E_x χ²(π ‖ μ)`."""
    return float((rho * (policy**2 / behaviour).sum(-1)).sum() - 1)


def drawn(seed, contexts=3, actions=4, dimension=None):
    rng = generator("concentrability", seed)
    rho = random_simplex(rng, contexts)
    policy, behaviour, baseline = (random_simplex(rng, contexts, actions) for _ in range(3))
    behaviour = (behaviour + 0.05) / (1 + 0.05 * actions)
    features = one_hot_features(contexts, actions)
    if dimension is not None:
        features = torch.from_numpy(rng.standard_normal((contexts, actions, dimension)))
    return features, rho, policy, behaviour, baseline


@given(seeds)
def test_table_is_half_the_chi_square(seed):
    features, rho, policy, behaviour, _ = drawn(seed)
    value = single_policy_concentrability(features, rho, pair_law(behaviour), policy, behaviour)
    assert float(value) == pytest.approx(chi_square(policy, behaviour, rho) / 2, rel=1e-6)


@given(seeds)
def test_is_at_most_half_the_density_ratio(seed):
    """`C ≤ (max π/μ − 1)/2` in general, with `ν = μ`."""
    features, rho, policy, behaviour, _ = drawn(seed, dimension=3)
    value = single_policy_concentrability(features, rho, pair_law(behaviour), policy, behaviour)
    assert float(value) <= (float((policy / behaviour).max()) - 1) / 2 + 1e-9


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dimension", [2, 5])
def test_is_the_supremum_over_directions(seed, dimension):
    """By a generalised eigenvalue problem, and never exceeded by random directions."""
    features, rho, policy, behaviour, baseline = drawn(seed, dimension=dimension)
    pairs = pair_law(behaviour)
    value = float(single_policy_concentrability(features, rho, pairs, policy, baseline))
    shift = np.einsum("xa,xad->d", rho[:, None] * (policy - baseline), features.numpy())
    covariance = np.zeros((dimension, dimension))  # from its definition, cell by cell
    for x, a, b in itertools.product(range(3), range(4), range(4)):
        difference = features[x, a] - features[x, b]
        covariance += float(rho[x] * pairs[x, a, b]) * np.outer(difference, difference)
    np.testing.assert_allclose(pair_covariance(features, rho, pairs), covariance, atol=1e-12)
    top = linalg.eigh(np.outer(shift, shift), covariance, eigvals_only=True)[-1]
    assert value == pytest.approx(top, rel=1e-8)
    directions = np.random.default_rng(seed).standard_normal((5000, dimension))
    ratios = (directions @ shift) ** 2 / np.einsum(
        "nd,de,ne->n", directions, covariance, directions
    )
    assert ratios.max() <= value * (1 + 1e-9)
    assert ratios.max() >= 0.3 * value


@pytest.mark.parametrize("seed", range(4))
def test_finite_class_by_loops(seed):
    _, rho, policy, behaviour, baseline = drawn(seed)
    rng = generator("members", seed)
    members = torch.from_numpy(rng.uniform(0, 1, (7, 3, 4)))
    design = Design(members[0], rho, pair_law(behaviour), baseline)
    largest = 0.0
    for member in members[1:]:
        gap = member - members[0]
        claim = float((rho[:, None] * (policy - baseline) * gap).sum())
        look = 0.0
        for x, a, b in itertools.product(range(3), range(4), range(4)):
            look += float(rho[x] * behaviour[x, a] * behaviour[x, b] * (gap[x, a] - gap[x, b]) ** 2)
        largest = max(largest, claim**2 / look)
        assert float(seen(gap, design)) == pytest.approx(look)
    found = concentrability_of(FiniteClass(members), design, policy)
    assert found.kind == "exact"
    assert found.value == pytest.approx(largest)


def test_finite_class_never_exceeds_the_linear_class_that_contains_it():
    features, rho, policy, behaviour, baseline = drawn(1, dimension=3)
    thetas = torch.from_numpy(generator("thetas").standard_normal((40, 3)))
    members = torch.einsum("xad,fd->fxa", features, thetas)
    design = Design(members[0], rho, pair_law(behaviour), baseline)
    finite = concentrability_of(FiniteClass(members), design, policy).value
    ball = concentrability_of(LinearClass(features, norm_bound=100.0), design, policy)
    assert finite <= ball.value * (1 + 1e-9)
    assert ball.kind == "exact"
    boxed = LinearClass(features, 100.0, (-1.0, 1.0))
    assert concentrability_of(boxed, design, policy).kind == "upper bound"


def test_infinite_where_an_action_is_not_covered_and_zero_at_the_baseline():
    features, rho, policy, behaviour, _ = drawn(2)
    behaviour = behaviour.clone()
    behaviour[1, 2] = 0.0
    behaviour = behaviour / behaviour.sum(-1, keepdim=True)
    pairs = pair_law(behaviour)
    assert math.isinf(single_policy_concentrability(features, rho, pairs, policy, behaviour))
    assert float(single_policy_concentrability(features, rho, pairs, behaviour, behaviour)) == 0
    avoided = policy.clone()
    avoided[1, 2] = 0.0
    avoided = avoided / avoided.sum(-1, keepdim=True)
    value = single_policy_concentrability(features, rho, pairs, avoided, behaviour)
    covered = behaviour.clamp_min(1e-300)
    assert float(value) == pytest.approx(chi_square(avoided, covered, rho) / 2, rel=1e-9)
    everything = all_policy_concentrability(features, rho, pairs, behaviour)
    assert math.isinf(everything.lower)


@pytest.mark.parametrize("noise", [1e-17, 1e-16, 1e-14])
def test_rounding_of_the_baseline_is_not_a_lack_of_coverage(noise):
    """`π` equal to `ν` up to rounding costs (next to) nothing, covered or not."""
    features, rho, _, behaviour, _ = drawn(2)
    wobble = noise * torch.from_numpy(generator("wobble").standard_normal(behaviour.shape))
    policy = behaviour + wobble
    value = single_policy_concentrability(features, rho, pair_law(behaviour), policy, behaviour)
    assert float(value) < 1e-12


@pytest.mark.parametrize("dimension", [None, 2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_all_policies_by_enumeration(seed, dimension):
    features, rho, _, behaviour, baseline = drawn(seed, 3, 3, dimension)
    pairs = pair_law(behaviour)
    best = 0.0
    for choice in itertools.product(range(3), repeat=3):
        policy = torch.eye(3, dtype=torch.float64)[list(choice)]
        value = single_policy_concentrability(features, rho, pairs, policy, baseline)
        best = max(best, float(value))
    found = all_policy_concentrability(features, rho, pairs, baseline)
    assert found.exact
    assert found.upper == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_all_policies_as_an_interval_on_larger_problems(seed):
    features, rho, _policy, behaviour, baseline = drawn(seed, 12, 6, 4)
    found = all_policy_concentrability(features, rho, pair_law(behaviour), baseline)
    rng = generator("policies", seed)
    picks = torch.from_numpy(rng.integers(0, 6, (300, 12)))
    policies = torch.nn.functional.one_hot(picks, 6).to(torch.float64)
    values = single_policy_concentrability(features, rho, pair_law(behaviour), policies, baseline)
    assert float(values.max()) <= found.lower * (1 + 1e-9)
    assert found.lower <= found.upper


@given(seeds, st.floats(0.01, 0.95), st.sampled_from([None, 3]))
def test_mixing_in_the_comparator_contracts(seed, t, dimension):
    """`μ_t = (1−t)μ + tπ_c` with `ν = μ_t` and i.i.d. draws has `C_t ≤ (1−t) C_0`."""
    features, rho, policy, behaviour, _ = drawn(seed, dimension=dimension)
    mixed = (1 - t) * behaviour + t * policy
    before = single_policy_concentrability(features, rho, pair_law(behaviour), policy, behaviour)
    after = single_policy_concentrability(features, rho, pair_law(mixed), policy, mixed)
    assert float(after) <= (1 - t) * float(before) * (1 + 1e-9) + 1e-12


@given(seeds, st.floats(0.05, 5), st.sampled_from([None, 3]))
def test_pairs_covered_alpha_times_as_much(seed, alpha, dimension):
    """With `ν` fixed and every cell covered at least `α` times as much, `C′ ≤ C/α`."""
    features, rho, policy, behaviour, baseline = drawn(seed, dimension=dimension)
    pairs = pair_law(behaviour)
    extra = torch.from_numpy(generator("extra", seed).uniform(0, 1, pairs.shape))
    before = single_policy_concentrability(features, rho, pairs, policy, baseline)
    scaled = single_policy_concentrability(features, rho, alpha * pairs, policy, baseline)
    more = single_policy_concentrability(features, rho, alpha * pairs + extra, policy, baseline)
    assert float(scaled) == pytest.approx(float(before) / alpha, rel=1e-7)
    assert float(more) <= float(before) / alpha * (1 + 1e-7)


def test_coverage_defaults_to_the_behaviour_as_baseline():
    problem = make_problem("tabular", contexts=3, actions=3)
    behaviour = random_simplex(generator("default"), 3, 3)
    found = coverage(problem, behaviour)
    expected = chi_square(problem.bandit.optimal_policy, behaviour, problem.bandit.rho) / 2
    assert found.single == pytest.approx(expected)
    assert isinstance(problem.reward_class, type(tabular_class(2, 2, 1.0)))
