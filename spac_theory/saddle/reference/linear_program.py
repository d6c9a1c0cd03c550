"""The exact game over a finite class as a linear program: the independent reference.

    max t   subject to   t ≤ G(π, r_f) for every member f,   π(·|x) a distribution.

The multipliers of the inequalities are the critic's mixture `q`. The class is not convex, so the
certificate averages `E_D(r)` itself over `q`, never `E_D` of the averaged reward.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import optimize, sparse

from spac_theory.rewards.finite import FiniteClass
from spac_theory.saddle.finite import mixture_certificate
from spac_theory.saddle.game import Game, Saddle


def linear_program_saddle(game: Game) -> Saddle:
    """Solve the game of every data set by the linear program (HiGHS), one after another."""
    cls = game.reward_class
    assert isinstance(cls, FiniteClass), "linear_program_saddle needs a finite class"
    contexts, actions = cls.shape
    members = len(cls.members)
    weighted = (game.rho[:, None] * cls.members).flatten(1).numpy()  # (F, X A)
    constant = torch.einsum("x,xa,fxa->f", game.rho, game.baseline, cls.members).numpy()
    losses = cls.losses(game.data.fraction, game.link).numpy()
    simplex = sparse.kron(sparse.eye(contexts), np.ones((1, actions)))
    cost = np.zeros(contexts * actions + 1)
    cost[-1] = -1.0
    program = {
        "c": cost,
        "A_ub": sparse.csr_matrix(np.hstack([-weighted, np.ones((members, 1))])),
        "A_eq": sparse.hstack([simplex, sparse.csr_matrix((contexts, 1))]).tocsr(),
        "b_eq": np.ones(contexts),
        "bounds": [(0.0, 1.0)] * (contexts * actions) + [(None, None)],
    }
    policies, mixtures = [], []
    for row, lam in zip(losses, game.lam.tolist(), strict=True):
        result = optimize.linprog(**program, b_ub=lam * row - constant, method="highs")
        if result.x is None:
            raise FloatingPointError(f"the linear program was not solved: {result.message}")
        policy = result.x[:-1].reshape(contexts, actions).clip(min=0)
        policies.append(policy / policy.sum(-1, keepdims=True))
        q = (-result.ineqlin.marginals).clip(min=0)
        mixtures.append(q / q.sum())
    policy_t, mixture = torch.from_numpy(np.stack(policies)), torch.from_numpy(np.stack(mixtures))
    policy_t = torch.where(game.rho[:, None] > 0, policy_t, 1 / actions)
    certificate = mixture_certificate(game, policy_t, mixture)
    converged = certificate.gap <= 1e-6 * certificate.upper.abs().clamp_min(1)
    return Saddle(policy_t, cls.average(mixture), certificate, converged, parameters=mixture)
