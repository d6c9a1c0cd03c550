"""Concentrability (8) of each class against brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spac_theory import LinearClass
from spac_theory.concentrability import all_policy_concentrability
from spac_theory.concentrability_classes import Design, all_policies_of, concentrability_of
from spac_theory.preferences import pair_law
from spac_theory.rewards.finite import FiniteClass
from spac_theory.rewards.kernel import KernelClass, rbf

SHAPE = (3, 3)


def random_design(rng: np.random.Generator, truth: torch.Tensor) -> Design:
    rho = torch.from_numpy(rng.dirichlet(np.ones(SHAPE[0])))
    mu, nu = (torch.from_numpy(rng.dirichlet(np.ones(SHAPE[1]), SHAPE[0])) for _ in range(2))
    return Design(truth, rho, pair_law(mu), nu)


def ratio_by_loops(difference: np.ndarray, design: Design, policy: torch.Tensor) -> float:
    """(8) for one member, written as the sums it is."""
    top = bottom = 0.0
    for x, a, b in itertools.product(range(SHAPE[0]), range(SHAPE[1]), range(SHAPE[1])):
        d = difference[x, a] - difference[x, b]
        weight = float(design.rho[x])
        top += weight * float(policy[x, a] * design.baseline[x, b]) * d
        bottom += weight * float(design.pairs[x, a, b]) * d**2
    if bottom <= 1e-18:
        return 0.0 if abs(top) <= 1e-9 else math.inf
    return top**2 / bottom


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 8))
def test_finite_class_by_loops(seed, members):
    rng = np.random.default_rng(seed)
    cls = FiniteClass(torch.from_numpy(rng.uniform(0, 1, (members, *SHAPE))))
    design = random_design(rng, cls.members[0])
    policies = [
        torch.nn.functional.one_hot(torch.tensor(choice), SHAPE[1]).double()
        for choice in itertools.product(range(SHAPE[1]), repeat=SHAPE[0])
    ]
    brute = [
        max(ratio_by_loops((m - design.truth).numpy(), design, p) for m in cls.members)
        for p in policies
    ]
    ours = [concentrability_of(cls, design, p).value for p in policies]
    assert np.allclose(ours, brute, rtol=1e-9)
    every = all_policies_of(cls, design)
    assert every.exact
    assert math.isclose(every.lower, max(brute), rel_tol=1e-9)


def test_finite_class_that_is_not_covered_is_infinite():
    members = torch.zeros(2, *SHAPE, dtype=torch.float64)
    members[1, :, 0] = 1.0
    mu = torch.tensor([[0.0, 0.5, 0.5]] * 3, dtype=torch.float64)
    rho = torch.full((3,), 1 / 3, dtype=torch.float64)
    design = Design(members[0], rho, pair_law(mu), mu)
    policy = torch.nn.functional.one_hot(torch.tensor([0, 0, 0]), 3).double()
    assert math.isinf(concentrability_of(FiniteClass(members), design, policy).value)
    assert concentrability_of(FiniteClass(members), design, mu).value == 0


def test_ball_and_kernel_are_the_supremum_over_their_members():
    """Random members stay below; the member along `Σ⁻¹(ψ(π) − ψ(ν))` attains it."""
    rng = np.random.default_rng(0)
    points = torch.from_numpy(rng.standard_normal((*SHAPE, 2)))
    for cls in (LinearClass(points, 1.0), KernelClass.of(points, rbf(1.0), 1.0)):
        start = torch.from_numpy(rng.standard_normal(cls.dimension))
        theta = 0.5 * start / start.norm()
        design = random_design(rng, cls.features @ theta)
        policy = torch.nn.functional.one_hot(torch.tensor([0, 1, 2]), 3).double()
        exact = concentrability_of(cls, design, policy).value
        moves = torch.from_numpy(rng.standard_normal((300, cls.dimension)))
        moves = 0.5 * moves / moves.norm(dim=-1, keepdim=True)
        found = [
            ratio_by_loops((cls.features @ move).numpy(), design, policy) for move in moves[:60]
        ]
        assert max(found) <= exact * (1 + 1e-7)
        shift = torch.einsum("x,xa,xad->d", design.rho, policy - design.baseline, cls.features)
        gram = torch.zeros(cls.dimension, cls.dimension, dtype=torch.float64)
        for x, a, b in itertools.product(range(3), range(3), range(3)):
            d = cls.features[x, a] - cls.features[x, b]
            gram += design.rho[x] * design.pairs[x, a, b] * torch.outer(d, d)
        along = torch.linalg.pinv(gram, hermitian=True) @ shift
        attained = ratio_by_loops((cls.features @ along).numpy(), design, policy)
        assert math.isclose(attained, exact, rel_tol=1e-5)


def test_ascent_over_policies_finds_the_enumerated_supremum(monkeypatch):
    rng = np.random.default_rng(1)
    features = torch.from_numpy(rng.standard_normal((6, 3, 4)))
    rho = torch.full((6,), 1 / 6, dtype=torch.float64)
    mu = torch.from_numpy(rng.dirichlet(np.ones(3), 6))
    exact = all_policy_concentrability(features, rho, pair_law(mu), mu)
    assert exact.exact
    monkeypatch.setattr("spac_theory.concentrability.MAX_ENUMERATED", 1)
    interval = all_policy_concentrability(features, rho, pair_law(mu), mu)
    assert interval.lower <= exact.lower * (1 + 1e-9) <= interval.upper * (1 + 1e-8)
    assert interval.lower >= 0.999 * exact.lower
