"""Pessimistic maximum likelihood against a second-order cone program and the direct formula."""

import math

import cvxpy as cp
import numpy as np
import pytest
import torch

from spac_theory import BRADLEY_TERRY, make_algorithm
from spac_theory.saddle.ridge import ridge_fit
from tests.theory.instances import random_setting

SETTINGS = [(0, True), (1, True), (0, False), (1, False), (2, False)]


def ellipsoid(view, data, scale, ridge):
    """`θ̂`, a factor `C` with `C Cᵀ = Σ_D + ridge/n`, and the radius, from triples one by one."""
    cls, n = view.reward_class, int(data.n[0])
    features = cls.features.numpy()
    covariance = ridge / n * np.eye(cls.dimension)
    for x, a, b in data.to_triples():
        difference = features[x, a] - features[x, b]
        covariance += np.outer(difference, difference) / n
    kappa = 2 + math.exp(cls.difference_bound) + math.exp(-cls.difference_bound)
    statistical = (cls.dimension + math.log(1 / view.delta)) * kappa**2
    radius = scale * math.sqrt((statistical + ridge * cls.radius**2) / n)
    fit = ridge_fit(cls.design, data, ridge / n, BRADLEY_TERRY, 1e-14)
    return fit.theta[0].numpy(), np.linalg.cholesky(covariance), radius


@pytest.mark.parametrize(("index", "tabular"), SETTINGS)
@pytest.mark.parametrize("scale", [0.001, 0.05])
def test_on_average_is_the_cone_program(index, tabular, scale):
    """`max_π (ψ(π) − ψ(ν))·θ̂ − radius ‖C⁻¹(ψ(π) − ψ(ν))‖` by CVXPY, value and policy."""
    view, data = random_setting(index, seeds=1, n=150, tabular=tabular)
    theta, factor, radius = ellipsoid(view, data, scale, 1.0)
    features, rho = view.reward_class.features.numpy(), view.rho.numpy()
    policy = cp.Variable(view.reward_class.shape, nonneg=True)
    weight = cp.multiply(rho[:, None], policy - view.baseline.numpy())
    shift = features.reshape(-1, features.shape[-1]).T @ cp.vec(weight, order="C")
    width = cp.norm(np.linalg.inv(factor) @ shift)
    objective = theta @ shift - radius * width
    problem = cp.Problem(cp.Maximize(objective), [cp.sum(policy, axis=1) == 1])
    problem.solve(cp.CLARABEL)
    fit = make_algorithm("pessimistic_mle", scale=scale).fit(view, data)
    mine = fit.policy.probabilities()[0].numpy()
    moved = features.reshape(-1, features.shape[-1]).T @ (
        rho[:, None] * (mine - view.baseline.numpy())
    ).reshape(-1)
    value = theta @ moved - radius * np.linalg.norm(np.linalg.solve(factor, moved))
    assert value == pytest.approx(problem.value, abs=2e-6)
    assert fit.converged.all()


@pytest.mark.parametrize(("index", "tabular"), SETTINGS)
def test_pointwise_is_the_direct_formula(index, tabular):
    view, data = random_setting(index, seeds=1, n=150, tabular=tabular)
    theta, factor, radius = ellipsoid(view, data, 0.02, 1.0)
    features = view.reward_class.features.numpy()
    centred = features - np.einsum("xa,xad->xd", view.baseline.numpy(), features)[:, None]
    inverse = np.linalg.inv(factor @ factor.T)
    width = np.sqrt(np.einsum("xad,de,xae->xa", centred, inverse, centred))
    best = (features @ theta - radius * width).argmax(-1)
    fit = make_algorithm("pessimistic_mle", form="pointwise", scale=0.02).fit(view, data)
    assert fit.policy.probabilities()[0].argmax(-1).tolist() == best.tolist()


def test_a_wide_ellipsoid_returns_the_baseline():
    """With a huge radius nothing beats `ψ(π) = ψ(ν)`: the value is 0."""
    view, data = random_setting(0, seeds=1, n=50)
    fit = make_algorithm("pessimistic_mle", scale=100.0).fit(view, data)
    torch.testing.assert_close(
        fit.policy.probabilities()[0][view.rho > 1e-6], view.baseline[view.rho > 1e-6],
        rtol=0, atol=1e-4,
    )  # fmt: skip
