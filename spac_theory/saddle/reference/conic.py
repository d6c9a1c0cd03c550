"""The independent reference: theory (7) as a conic program, solved by CVXPY and Clarabel.

Another formulation by other authors, one problem at a time and slow: it is what tests and
benchmarks compare with, never a production path.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spac_theory.checks import InputError
from spac_theory.rewards.linear import LinearClass
from spac_theory.saddle.game import Game


@dataclass(frozen=True)
class ConicSaddle:
    """Value, policy `(X, A)` and reward `(X, A)` of one game, as the conic solver reports them.

    `multiplier` is that of the constraint `E_D(r) ≤ level`, where there is one.
    """

    value: float
    policy: Tensor
    reward: Tensor
    multiplier: float | None = None


def conic_saddle(
    game: Game, index: int = 0, tolerance: float = 1e-10, level: float | None = None
) -> ConicSaddle:
    """Solve data set `index` of a Bradley–Terry game over a bounded linear class.

    With a `level` it is the constrained game `max_π min L(π, r)` over members with `E_D(r) ≤ level`.
    Raises InputError for another link or class (the exponential cone covers these only).
    """
    import cvxpy as cp

    cls = game.reward_class
    if not isinstance(cls, LinearClass) or game.link.name != "bradley_terry":
        raise InputError("conic_saddle needs a bounded linear class and the Bradley–Terry link.")
    contexts, actions = cls.shape
    rows = cls.features.flatten(0, 1).numpy()
    theta, u = cp.Variable(cls.dimension), cp.Variable(contexts)
    reward = rows @ theta
    fraction = game.data.fraction[index].numpy()
    x, a, b = np.nonzero(fraction)
    margin = reward[x * actions + a] - reward[x * actions + b]
    likelihood = cp.sum(cp.multiply(fraction[x, a, b], cp.logistic(-margin)))
    rho = game.rho.numpy()
    weight = (game.rho.unsqueeze(-1) * game.baseline).flatten().numpy()
    objective = rho @ u - weight @ reward
    maxima = cp.kron(np.eye(contexts), np.ones((actions, 1))) @ u >= reward
    constraints = [maxima]
    if cls.norm_bound is not None:
        constraints.append(cp.norm(theta) <= cls.norm_bound)
    if cls.reward_range is not None:
        low, high = cls.reward_range
        constraints += [reward >= low, reward <= high]
    if level is None:
        objective = objective + float(game.lam[index]) * likelihood
    else:
        constraints.append(likelihood <= level)
    problem = cp.Problem(cp.Minimize(objective), constraints)
    problem.solve(
        solver=cp.CLARABEL, tol_gap_abs=tolerance, tol_gap_rel=tolerance, tol_feas=tolerance
    )
    policy = np.asarray(maxima.dual_value).reshape(contexts, actions).clip(min=0)
    total = policy.sum(-1, keepdims=True)
    uniform = np.full_like(policy, 1 / actions)
    policy = np.where(rho[:, None] > 0, policy / np.where(total > 0, total, 1), uniform)
    fitted = torch.from_numpy(np.asarray(reward.value).reshape(contexts, actions))
    multiplier = None if level is None else float(constraints[-1].dual_value)
    return ConicSaddle(float(problem.value), torch.from_numpy(policy), fitted, multiplier)
