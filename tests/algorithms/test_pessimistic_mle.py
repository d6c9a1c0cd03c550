"""Pessimistic maximum likelihood against a second-order cone program and the direct formula."""

import math

import cvxpy as cp
import numpy as np
import pytest
import torch
from scipy.stats import norm

from experiments.claims.games.instances import random_setting
from spac_theory import BRADLEY_TERRY, PROBIT, make_algorithm
from spac_theory.solvers.ridge import ridge_fit

SETTINGS = [(0, True), (1, True), (0, False), (1, False), (2, False)]


def kappa_of(link, bound):
    """Bradley–Terry: `1/(σ(R) σ(−R))`. Probit: from its Fisher information, which falls with `|z|`."""
    if link is BRADLEY_TERRY:
        return 2 + math.exp(bound) + math.exp(-bound)
    high, low = norm.cdf(bound), norm.cdf(-bound)
    half = (math.asin(math.sqrt(high)) - math.asin(math.sqrt(low))) / 2
    return (half / math.sin(half)) ** 2 * high * low / norm.pdf(bound) ** 2


def like_logistic(scale, view):
    """A scale that gives a link with a huge `κ` an ellipsoid of the size of Bradley–Terry's."""
    bound = view.reward_class.difference_bound
    return scale * kappa_of(BRADLEY_TERRY, bound) / kappa_of(view.link, bound)


def ellipsoid(view, data, scale, ridge):
    """`θ̂`, a factor `C` with `C Cᵀ = Σ_D + ridge/n`, and the radius, from triples one by one."""
    cls, n = view.reward_class, int(data.n[0])
    features = cls.features.numpy()
    covariance = ridge / n * np.eye(cls.dimension)
    for x, a, b in data.to_triples():
        difference = features[x, a] - features[x, b]
        covariance += np.outer(difference, difference) / n
    kappa = kappa_of(view.link, cls.difference_bound)
    statistical = (cls.dimension + math.log(1 / view.delta)) * kappa**2
    radius = scale * math.sqrt((statistical + ridge * cls.radius**2) / n)
    fit = ridge_fit(cls.design, data, ridge / n, view.link, 1e-14)
    return fit.theta[0].numpy(), np.linalg.cholesky(covariance), radius


@pytest.mark.parametrize(("index", "tabular"), SETTINGS)
@pytest.mark.parametrize("link", [BRADLEY_TERRY, PROBIT], ids=lambda link: link.name)
@pytest.mark.parametrize("scale", [0.001, 0.05])
def test_on_average_is_the_cone_program(index, tabular, scale, link):
    """`max_π (ψ(π) − ψ(ν))·θ̂ − radius ‖C⁻¹(ψ(π) − ψ(ν))‖` by CVXPY, value and policy."""
    view, data = random_setting(index, seeds=1, n=150, tabular=tabular, link=link)
    scale = like_logistic(scale, view)
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
@pytest.mark.parametrize("link", [BRADLEY_TERRY, PROBIT], ids=lambda link: link.name)
def test_pointwise_is_the_direct_formula(index, tabular, link):
    view, data = random_setting(index, seeds=1, n=150, tabular=tabular, link=link)
    scale = like_logistic(0.02, view)
    theta, factor, radius = ellipsoid(view, data, scale, 1.0)
    features = view.reward_class.features.numpy()
    centred = features - np.einsum("xa,xad->xd", view.baseline.numpy(), features)[:, None]
    inverse = np.linalg.inv(factor @ factor.T)
    width = np.sqrt(np.einsum("xad,de,xae->xa", centred, inverse, centred))
    best = (features @ theta - radius * width).argmax(-1)
    fit = make_algorithm("pessimistic_mle", form="pointwise", scale=scale).fit(view, data)
    assert fit.policy.probabilities()[0].argmax(-1).tolist() == best.tolist()


def test_a_wide_ellipsoid_returns_the_baseline():
    """With a huge radius nothing beats `ψ(π) = ψ(ν)`: the value is 0."""
    view, data = random_setting(0, seeds=1, n=50)
    fit = make_algorithm("pessimistic_mle", scale=100.0).fit(view, data)
    torch.testing.assert_close(
        fit.policy.probabilities()[0][view.rho > 1e-6], view.baseline[view.rho > 1e-6],
        rtol=0, atol=1e-4,
    )  # fmt: skip
