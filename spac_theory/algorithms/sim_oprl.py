"""Sim-OPRL in a bandit: ask about what plausible optima disagree on, then be pessimistic.

Pace, Schölkopf, Rätsch and Ramponi (2024), arXiv 2406.18450. With horizon 1 there is no transition
to be uncertain of; `spac_theory.instances.two_step` has the problem where its other pessimism acts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.contextual import greedy
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.likelihood import ridge_likelihood
from spac_theory.learning.needs import KNOWN_CONTEXTS, LABELS, TABLE, Coefficient, Learner
from spac_theory.learning.online_loop import batches
from spac_theory.objective import tabular_preference_derivatives
from spac_theory.options import choice, flag, integer, number
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


def laplace_covariance(reward: Tensor, wins: Tensor, view: LearnerView) -> Tensor:
    """Inverse of the Hessian `n ∇²E_D + I` of the posterior under `N(0, I)`, `(S, X, A, A)`."""
    _, hessian = tabular_preference_derivatives(reward, wins.to(torch.float64), view.link)
    eye = torch.eye(reward.shape[-1], dtype=torch.float64)
    return torch.cholesky_inverse(torch.linalg.cholesky(hessian + eye))


def posterior_mode(view: LearnerView, wins: Tensor) -> tuple[Tensor, Tensor]:
    """The most likely rewards under `N(0, I)` and the accuracy of that fit; 0 without labels."""
    if not bool((wins.sum((-3, -2, -1)) > 0).all()):
        return torch.zeros(wins.shape[:3], dtype=torch.float64), torch.zeros(len(wins))
    fit = ridge_likelihood(view, WinnerCounts(wins), 1.0)
    return fit.reward, fit.gap


def pair_variance(covariance: Tensor) -> Tensor:
    """`Var(r(a) − r(b))`, `(..., A, A)`."""
    diagonal = covariance.diagonal(dim1=-2, dim2=-1)
    return diagonal.unsqueeze(-1) + diagonal.unsqueeze(-2) - 2 * covariance


@ALGORITHMS.register("sim_oprl")
@dataclass(frozen=True)
class SimOprl(Learner):
    """Spend the labels on disputed pairs, then play the largest lower confidence bound.

    As in the paper the labels of the data are not read unless `offline` says so. A response is never
    compared with itself: where all plausible optima agree, the one they agree on is compared with its
    most uncertain rival.
    """

    needs = frozenset({TABLE, LABELS, KNOWN_CONTEXTS})
    coefficient = Coefficient.NONE

    query: str = choice(
        "optimistic",
        "the most uncertain pair of plausible optima (optimistic), of the data (uncertain), or two draws "
        "of π_ref (uniform)",
        ("optimistic", "uncertain", "uniform"),
    )
    offline: bool = flag(False, "start from the labels of the data; the paper starts without")
    members: int = integer(6, "posterior samples a round", low=2)
    rounds: int = integer(10, "the budget is spent in this many equal batches")
    width: float = number(1.0, "standard deviations of the final lower bound", low=0)

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Query, refit, repeat; then be pessimistic."""
        assert oracle is not None
        assert oracle.online is not None
        access = oracle.online
        wins = data.wins if self.offline else torch.zeros_like(data.wins)
        streams = data.streams("sim-oprl", view.key)
        for size in batches(access, self.rounds):
            if self.query == "uniform":
                both = view.reference.expand(wins.shape[:3])
                asked = access.pairs(size, both, both, distinct=True)
            else:
                pair = self._pair(view, wins, data.compared > 0, streams)
                asked = access.prompts(size)[..., None, None] * pair
            wins = wins + access.label(asked)
        reward, gap = posterior_mode(view, wins)
        covariance = laplace_covariance(reward, wins, view)
        towards = torch.einsum("xb,sxab->sxa", view.baseline, covariance)
        own = torch.einsum("xa,sxa->sx", view.baseline, towards)
        variance = covariance.diagonal(dim1=-2, dim2=-1) - 2 * towards + own.unsqueeze(-1)
        lower = reward - self.width * variance.clamp_min(0).sqrt()
        return Fit(TabularPolicy(greedy(lower)), "gradient norm", gap, reward=reward)

    def _pair(
        self, view: LearnerView, wins: Tensor, seen: Tensor, streams: list[np.random.Generator]
    ) -> Tensor:
        """One-hot `(S, X, A, A)` of the pair to ask about at each context."""
        reward, _ = posterior_mode(view, wins)
        covariance = laplace_covariance(reward, wins, view)
        variance = pair_variance(covariance)
        if self.query == "uncertain":
            allowed = seen
        else:
            root = torch.linalg.cholesky(covariance)
            shape = (self.members, *reward.shape[1:])
            noise = torch.stack([torch.as_tensor(s.normal(size=shape)) for s in streams])
            samples = reward.unsqueeze(1) + torch.einsum("sxab,smxb->smxa", root, noise)
            best = greedy(samples).amax(1) > 0
            allowed = best.unsqueeze(-1) & best.unsqueeze(-2)
            agreed = best.sum(-1)[..., None, None] == 1
            allowed = torch.where(agreed, best.unsqueeze(-1), allowed)
        itself = torch.eye(reward.shape[-1], dtype=torch.bool)
        score = torch.where(allowed, variance, -1.0).masked_fill(itself, -2.0).flatten(-2)
        pick = torch.nn.functional.one_hot(score.argmax(-1), score.shape[-1])
        return pick.reshape(variance.shape)
