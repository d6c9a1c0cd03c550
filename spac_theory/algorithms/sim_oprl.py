"""Sim-OPRL in a bandit: ask about what plausible optima disagree on, then be pessimistic.

Pace, Schölkopf, Rätsch and Ramponi (2024), arXiv 2406.18450. With horizon 1 there is no transition
to be uncertain of; `spac_theory.instances.two_step` has the problem where its other pessimism acts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.contextual import greedy
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.likelihood import ridge_likelihood
from spac_theory.learning.online_loop import batches, online_skip
from spac_theory.objective import tabular_preference_derivatives
from spac_theory.rewards.linear import LinearClass
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


def laplace_covariance(reward: Tensor, data: WinnerCounts, view: LearnerView) -> Tensor:
    """Inverse of the Hessian `n ∇²E_D + I` of the posterior under `N(0, I)`, `(S, X, A, A)`."""
    _, hessian = tabular_preference_derivatives(reward, data.wins.to(torch.float64), view.link)
    eye = torch.eye(reward.shape[-1], dtype=torch.float64)
    return torch.cholesky_inverse(torch.linalg.cholesky(hessian + eye))


def pair_variance(covariance: Tensor) -> Tensor:
    """`Var(r(a) − r(b))`, `(..., A, A)`."""
    diagonal = covariance.diagonal(dim1=-2, dim2=-1)
    return diagonal.unsqueeze(-1) + diagonal.unsqueeze(-2) - 2 * covariance


@ALGORITHMS.register("sim_oprl")
@dataclass(frozen=True)
class SimOprl:
    """Spend the labels on disputed pairs, then play the largest lower confidence bound.

    Attributes
    ----------
    query : "optimistic" (the most uncertain pair among greedy actions of posterior samples),
        "uncertain" (the most uncertain pair the data contain) or "uniform" (two draws of `π_ref`)
    members : posterior samples a round
    rounds : the budget is spent in this many equal batches
    width : standard deviations of the final lower bound, relative to the baseline
    """

    query: str = "optimistic"
    members: int = 6
    rounds: int = 10
    width: float = 1.0

    def __post_init__(self) -> None:
        checks.choice("query", self.query, ("optimistic", "uncertain", "uniform"))
        checks.integer("members", self.members, low=2)
        checks.integer("rounds", self.rounds, low=1)
        checks.number("width", self.width, low=0)

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Needs a table and a budget of labels."""
        cls = view.reward_class
        if not (isinstance(cls, LinearClass) and cls.tabular):
            return "needs a tabular reward class"
        return online_skip(view, oracle)

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Query, refit, repeat; then be pessimistic."""
        assert oracle is not None
        assert oracle.online is not None
        access, known = oracle.online, data
        streams = data.streams("sim-oprl", view.key)
        for size in batches(access, self.rounds):
            if self.query == "uniform":
                both = view.reference.expand(known.wins.shape[:3])
                asked = access.pairs(size, both, both)
            else:
                asked = access.prompts(size)[..., None, None] * self._pair(view, known, streams)
            known = WinnerCounts(known.wins + access.label(asked))
        fit = ridge_likelihood(view, known, 1.0)
        covariance = laplace_covariance(fit.reward, known, view)
        towards = torch.einsum("xb,sxab->sxa", view.baseline, covariance)
        own = torch.einsum("xa,sxa->sx", view.baseline, towards)
        variance = covariance.diagonal(dim1=-2, dim2=-1) - 2 * towards + own.unsqueeze(-1)
        lower = fit.reward - self.width * variance.clamp_min(0).sqrt()
        return Fit(TabularPolicy(greedy(lower)), "gradient norm", fit.gap, reward=fit.reward)

    def _pair(
        self, view: LearnerView, data: WinnerCounts, streams: list[np.random.Generator]
    ) -> Tensor:
        """One-hot `(S, X, A, A)` of the pair to ask about at each context."""
        reward = ridge_likelihood(view, data, 1.0).reward
        covariance = laplace_covariance(reward, data, view)
        variance = pair_variance(covariance)
        if self.query == "uncertain":
            allowed = data.compared > 0
        else:
            root = torch.linalg.cholesky(covariance)
            noise = torch.stack(
                [
                    torch.from_numpy(s.normal(size=(self.members, *reward.shape[1:])))
                    for s in streams
                ]
            )
            samples = reward.unsqueeze(1) + torch.einsum("sxab,smxb->smxa", root, noise)
            best = greedy(samples).amax(1)
            allowed = (best.unsqueeze(-1) * best.unsqueeze(-2)) > 0
        score = torch.where(allowed, variance, -1.0).flatten(-2)
        pick = torch.nn.functional.one_hot(score.argmax(-1), score.shape[-1])
        return pick.reshape(variance.shape)
