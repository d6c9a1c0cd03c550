"""The contextual bandit: contexts, actions, features, the true reward, and what is exact about them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.checks import InputError, brief


@dataclass(frozen=True)
class ContextualBandit:
    """A finite contextual bandit whose true reward only the referee knows.

    Attributes
    ----------
    rho : (X,)
        Context distribution `ρ`, sums to 1.
    features : (X, A, d)
        `φ(x,a)`; one-hot features make the linear class tabular.
    reward : (X, A)
        True reward `r*`. No learner ever receives this object.
    name : str
        Names the random streams of its data; two problems must not share one.
    """

    __repr__ = brief

    rho: Tensor
    features: Tensor
    reward: Tensor
    name: str = "bandit"

    def __post_init__(self) -> None:
        reward = checks.as_tensor("reward", self.reward, (None, None))
        if min(reward.shape) < 1 or reward.shape[1] < 2:
            raise InputError(
                f"reward has shape {tuple(reward.shape)}; a bandit needs X >= 1 contexts and A >= 2 "
                "actions."
            )
        rho = checks.probabilities("rho", self.rho, (reward.shape[0],))
        features = checks.as_tensor("features", self.features, (*reward.shape, None))
        for field, value in (("rho", rho), ("features", features), ("reward", reward)):
            object.__setattr__(self, field, value)

    @property
    def shape(self) -> tuple[int, int]:
        """`(X, A)`."""
        return self.reward.shape[0], self.reward.shape[1]

    @property
    def optimal_value(self) -> float:
        """`J(π*) = E_x[max_a r*(x,a)]`."""
        return float((self.rho * self.reward.max(-1).values).sum())

    @property
    def optimal_policy(self) -> Tensor:
        """A policy that is optimal at every context, `(X, A)`; ties are shared equally."""
        best = self.reward >= self.reward.max(-1, keepdim=True).values
        return best / best.sum(-1, keepdim=True).to(torch.float64)

    def value(self, policy: Tensor) -> Tensor:
        """`J(π) = E_{x~ρ, a~π}[r*(x,a)]` exactly: `(..., X, A) -> (...)`."""
        checks.simplex("policy", policy)
        return (self.rho[:, None] * policy * self.reward).sum((-2, -1))

    def suboptimality(self, policy: Tensor) -> Tensor:
        """`J(π*) − J(π) ≥ 0`: `(..., X, A) -> (...)`, never clipped."""
        gaps = self.reward.max(-1, keepdim=True).values - self.reward
        checks.simplex("policy", policy)
        return (self.rho[:, None] * policy * gaps).sum((-2, -1))

    def regularised_optimum(self, reference: Tensor, beta: float) -> Tensor:
        """`argmax_π J(π) − β E_x KL(π ‖ π_ref) ∝ π_ref exp(r*/β)`, `(X, A)`; `β > 0`."""
        return tilt(reference, self.reward, beta)


def tilt(reference: Tensor, reward: Tensor, beta: float) -> Tensor:
    """`π ∝ π_ref exp(r/β)` along the last axis, the optimum of KL-regularised value; `β > 0`."""
    beta = checks.number("beta", beta, low=0, open_low=True)
    checks.simplex("reference", reference)
    return torch.softmax(reference.log() + reward / beta, -1)


def greedy(reward: Tensor) -> Tensor:
    """The policy that plays the best actions of `reward (..., X, A)`; ties (to 1e-12) are shared."""
    best = reward >= reward.max(-1, keepdim=True).values - 1e-12
    return best / best.sum(-1, keepdim=True).to(torch.float64)
