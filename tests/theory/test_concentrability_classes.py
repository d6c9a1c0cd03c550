"""Concentrability (8) of each class against brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from spac_theory import LinearClass
from spac_theory.bandit.preferences import pair_law
from spac_theory.concentrability.classes import (
    Design,
    all_policies_of,
    concentrability_of,
    of_all_functions,
)
from spac_theory.concentrability.linear import (
    all_policy_concentrability,
    pair_covariance,
    ridge_concentrability,
    single_policy_concentrability,
)
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
    monkeypatch.setattr("spac_theory.concentrability.linear.MAX_ENUMERATED", 1)
    interval = all_policy_concentrability(features, rho, pair_law(mu), mu)
    assert interval.lower <= exact.lower * (1 + 1e-9) <= interval.upper * (1 + 1e-8)
    assert interval.lower >= 0.999 * exact.lower


def smooth_points(contexts: int, actions: int) -> torch.Tensor:
    """Distinct points of the unit interval, `(X, A, 1)`."""
    line = torch.linspace(0, 1, contexts * actions, dtype=torch.float64)
    return line.reshape(contexts, actions, 1)


def one_hot(choice: tuple[int, ...], actions: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(choice), actions).double()


def test_a_strictly_positive_kernel_claims_what_all_functions_can_claim():
    """An RBF kernel spans all functions on distinct points: `C` is half the χ², for every policy."""
    cls = KernelClass.of(smooth_points(3, 3), rbf(0.05), 1.0)
    rng = np.random.default_rng(3)
    rho, mu = (torch.from_numpy(rng.dirichlet(np.ones(3), size)) for size in (None, 3))
    design = Design(cls.features @ torch.ones(cls.dimension).double(), rho, pair_law(mu), mu)
    halves = []
    for choice in itertools.product(range(3), repeat=3):
        policy = one_hot(choice, 3)
        half = float((rho[:, None] * (policy - mu) ** 2 / mu).sum()) / 2
        assert math.isclose(concentrability_of(cls, design, policy).value, half, rel_tol=1e-7)
        assert math.isclose(of_all_functions(design, policy).value, half, rel_tol=1e-9)
        halves.append(half)
    every = all_policies_of(cls, design)
    assert every.exact
    assert math.isclose(every.upper, max(halves), rel_tol=1e-7)


def test_a_smooth_kernel_is_finite_where_its_spectrum_falls_below_every_tolerance():
    """`Σ` has eigenvalues down to 1e-15 of the largest; all pairs are compared, so `C` is finite."""
    mp = pytest.importorskip("mpmath").mp
    points = smooth_points(3, 3)
    cls = KernelClass.of(points, rbf(1.0), 1.0)
    rho, mu = (torch.full(size, 1 / 3, dtype=torch.float64) for size in ((3,), (3, 3)))
    design = Design(torch.zeros(3, 3).double(), rho, pair_law(mu), mu)
    spectrum = torch.linalg.eigvalsh(pair_covariance(cls.features, rho, pair_law(mu)))
    assert float(spectrum[0]) < 1e-9 * float(spectrum[-1])
    policy = one_hot((2, 1, 0), 3)
    found, half = concentrability_of(cls, design, policy), of_all_functions(design, policy)
    assert found.value <= half.value * (1 + 1e-9)
    assert math.isfinite(all_policies_of(cls, design).upper)
    # The same quotient with 60 digits, over the leading eigenfunctions that the class keeps.
    mp.dps = 60
    z = [mp.mpf(float(v)) for v in points.flatten()]
    gram = mp.matrix(9, 9)
    for i, j in itertools.product(range(9), range(9)):
        gram[i, j] = mp.exp(-((z[i] - z[j]) ** 2) / 2)
    _, vectors = mp.eigsy(gram)
    kept = range(9 - cls.dimension, 9)
    phi = mp.matrix(9, len(kept))
    for column, k in enumerate(kept):
        for i in range(9):
            phi[i, column] = vectors[i, k]  # the scale of a feature does not enter the quotient
    laplacian, w = mp.matrix(9, 9), mp.matrix(9, 1)
    for x, a, b in itertools.product(range(3), range(3), range(3)):
        i, j, weight = 3 * x + a, 3 * x + b, 2 * mp.mpf(1) / 27
        laplacian[i, j] -= weight
        laplacian[i, i] += weight
    for x, a in itertools.product(range(3), range(3)):
        w[3 * x + a] = (mp.mpf(float(policy[x, a])) - mp.mpf(1) / 3) / 3
    shift = phi.T * w
    exact = (shift.T * mp.lu_solve(phi.T * laplacian * phi, shift))[0]
    assert math.isclose(found.value, float(exact), rel_tol=1e-6)


def test_a_kernel_is_infinite_where_an_action_is_never_compared():
    cls = KernelClass.of(smooth_points(2, 3), rbf(0.05), 1.0)
    mu = torch.tensor([[0.5, 0.5, 0.0]] * 2, dtype=torch.float64)
    rho = torch.full((2,), 0.5, dtype=torch.float64)
    design = Design(torch.zeros(2, 3).double(), rho, pair_law(mu), mu)
    assert math.isinf(concentrability_of(cls, design, one_hot((2, 0), 3)).value)
    assert math.isfinite(concentrability_of(cls, design, one_hot((1, 0), 3)).value)
    assert math.isinf(all_policies_of(cls, design).lower)


def test_rare_comparisons_make_it_large_but_not_infinite():
    """A share of 1e-9 is far below the old rank tolerance; the closed form is `(1/p − 1)/2`."""
    for p in (1e-3, 1e-6, 1e-9):
        mu = torch.tensor([[1 - p, p]], dtype=torch.float64)
        one, best = torch.ones(1).double(), one_hot((1,), 2)
        value = of_all_functions(Design(torch.zeros(1, 2).double(), one, pair_law(mu), mu), best)
        assert math.isclose(value.value, (1 / p - 1) / 2, rel_tol=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1e-6, 1e-2, 1.0]))
def test_ridge_form_by_a_generalised_eigenvalue_problem(seed, ridge):
    rng = np.random.default_rng(seed)
    features = torch.from_numpy(rng.standard_normal((*SHAPE, 4)))
    design = random_design(rng, torch.zeros(SHAPE).double())
    policy = one_hot((0, 1, 2), 3)
    law = (features, design.rho, design.pairs)
    found = float(ridge_concentrability(*law, policy, design.baseline, ridge))
    weight = (design.rho[:, None] * (policy - design.baseline)).numpy()
    shift = np.einsum("xa,xad->d", weight, features.numpy())
    look = pair_covariance(*law).numpy() + ridge * np.eye(4)
    top = linalg.eigh(np.outer(shift, shift), look, eigvals_only=True)[-1]
    assert math.isclose(found, top, rel_tol=1e-7)
    assert found <= float(single_policy_concentrability(*law, policy, design.baseline)) * (1 + 1e-9)
