"""The critic's problem (4) by two other routes: CVXPY with Clarabel, and SciPy's minimisers."""

from __future__ import annotations

import warnings

import cvxpy as cp
import numpy as np
import torch
from scipy import optimize
from torch import Tensor

from spac_theory import Game
from spac_theory.objective import tabular_game


def conic_critic(game: Game, policy: Tensor) -> float:
    """`min_r G(π, r)` of a Bradley–Terry game with one data set, `policy (X, A)`."""
    cls = game.reward_class
    rows = cls.features.flatten(0, 1).numpy()
    theta = cp.Variable(cls.dimension)
    reward = rows @ theta
    weight = (game.rho[:, None] * (policy - game.baseline)).flatten().numpy()
    fraction = game.data.fraction[0].numpy()
    x, a, b = np.nonzero(fraction)
    actions = cls.shape[1]
    margin = reward[x * actions + a] - reward[x * actions + b]
    loss = cp.sum(cp.multiply(fraction[x, a, b], cp.logistic(-margin)))
    bounds = []
    if cls.norm_bound is not None:
        bounds.append(cp.norm(theta) <= cls.norm_bound)
    if cls.reward_range is not None:
        bounds += [reward >= cls.reward_range[0], reward <= cls.reward_range[1]]
    problem = cp.Problem(cp.Minimize(weight @ reward + float(game.lam[0]) * loss), bounds)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Solution may be inaccurate")
        problem.solve(cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return float(problem.value)


def autograd(function):
    """`function` of a float64 tensor as (value, gradient) in NumPy, for SciPy."""

    def both(flat: np.ndarray) -> tuple[float, np.ndarray]:
        point = torch.tensor(flat, dtype=torch.float64, requires_grad=True)
        value = function(point)
        (gradient,) = torch.autograd.grad(value, point)
        return float(value.detach()), gradient.numpy()

    return both


def scipy_critic(game: Game, policy: Tensor, index: int = 0) -> float:
    """`min_r G(π, r)` of data set `index`, any link: L-BFGS-B in a box, SLSQP in a ball."""
    cls = game.reward_class

    def value(theta: Tensor) -> Tensor:
        reward = (cls.features @ theta).reshape(cls.shape)
        fraction, lam = game.data.fraction[index], game.lam[index]
        return tabular_game(reward, policy, game.baseline, game.rho, fraction, lam, game.link)

    start, options = cls.interior.numpy(), {"maxiter": 5000, "ftol": 1e-14}
    if cls.norm_bound is None:
        assert cls.tabular
        box = [cls.reward_range] * cls.dimension
        result = optimize.minimize(
            autograd(value), start, jac=True, method="L-BFGS-B", bounds=box,
            options={**options, "gtol": 1e-10},
        )  # fmt: skip
        return float(result.fun)
    square = cls.norm_bound**2
    inside = [{"type": "ineq", "fun": lambda t: square - t @ t, "jac": lambda t: -2 * t}]
    if cls.reward_range is not None:
        rows, (low, high) = cls.features.flatten(0, 1).numpy(), cls.reward_range
        inside += [
            {"type": "ineq", "fun": lambda t: high - rows @ t, "jac": lambda t: -rows},
            {"type": "ineq", "fun": lambda t: rows @ t - low, "jac": lambda t: rows},
        ]
    result = optimize.minimize(
        autograd(value), start, jac=True, method="SLSQP", constraints=inside, options=options
    )
    return float(result.fun)
