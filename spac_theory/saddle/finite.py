"""The exact game over a finite class: a linear program, certified with a mixture of critics.

    max t   subject to   t ≤ G(π, r_f) for every member f,   π(·|x) a distribution.

The multipliers of the inequalities are the critic's mixture `q`. The class is not convex, so the
certificate averages `E_D(r)` itself over `q`, never `E_D` of the averaged reward.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import optimize, sparse
from torch import Tensor

from spac_theory.rewards.finite import FiniteClass
from spac_theory.saddle.game import Certificate, Game, certify


@dataclass(frozen=True)
class FiniteSaddle:
    """Policy `(S, X, A)`, critic mixture `q (S, F)` and the certificate of the pair."""

    policy: Tensor
    mixture: Tensor
    certificate: Certificate


def mixture_certificate(game: Game, policy: Tensor, mixture: Tensor) -> Certificate:
    """Theory (6) for a finite class: `max_π′ Σ_f q_f G(π′, r_f)` and `min_f G(π, r_f)`."""
    cls = game.reward_class
    assert isinstance(cls, FiniteClass)
    losses = cls.losses(game.data.fraction, game.link)
    average = torch.einsum("sf,fxa->sxa", mixture, cls.members)
    return certify(game, policy, average, loss=(mixture * losses).sum(-1))


def finite_saddle(game: Game) -> FiniteSaddle:
    """Solve the game of every data set by the linear program (HiGHS), one after another."""
    cls = game.reward_class
    assert isinstance(cls, FiniteClass), "finite_saddle needs a finite class"
    contexts, actions = cls.shape
    members = len(cls.members)
    weighted = (game.rho[:, None] * cls.members).flatten(1).numpy()  # (F, X A)
    constant = torch.einsum("x,xa,fxa->f", game.rho, game.baseline, cls.members).numpy()
    losses = cls.losses(game.data.fraction, game.link).numpy()
    inequality = sparse.csr_matrix(np.hstack([-weighted, np.ones((members, 1))]))
    simplex = sparse.kron(sparse.eye(contexts), np.ones((1, actions)))
    equality = sparse.hstack([simplex, sparse.csr_matrix((contexts, 1))]).tocsr()
    cost = np.zeros(contexts * actions + 1)
    cost[-1] = -1.0
    bounds = [(0.0, 1.0)] * (contexts * actions) + [(None, None)]
    policies, mixtures = [], []
    for row, lam in zip(losses, game.lam.tolist(), strict=True):
        result = optimize.linprog(
            cost,
            A_ub=inequality,
            b_ub=lam * row - constant,
            A_eq=equality,
            b_eq=np.ones(contexts),
            bounds=bounds,
            method="highs",
        )
        if result.x is None:
            raise FloatingPointError(f"the linear program was not solved: {result.message}")
        policy = result.x[:-1].reshape(contexts, actions).clip(min=0)
        policies.append(policy / policy.sum(-1, keepdims=True))
        q = (-result.ineqlin.marginals).clip(min=0)
        mixtures.append(q / q.sum())
    policy_t, mixture_t = torch.from_numpy(np.stack(policies)), torch.from_numpy(np.stack(mixtures))
    policy_t = torch.where(game.rho[:, None] > 0, policy_t, 1 / actions)
    return FiniteSaddle(policy_t, mixture_t, mixture_certificate(game, policy_t, mixture_t))
