"""Maximum likelihood and what is built on it: greedy play and KL-regularised RLHF."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit import greedy, tilt
from spac_theory.preferences import WinnerCounts
from spac_theory.rewards.base import BestResponse
from spac_theory.rewards.linear import LinearClass
from spac_theory.saddle.ridge import RidgeFit, ridge_fit
from spac_theory.view import Fit, GeneralPolicy, LearnerView, Oracle

NEEDS_LINEAR = "needs a linear (or tabular) reward class"


def ridge_likelihood(view: LearnerView, data: WinnerCounts, ridge: float) -> RidgeFit:
    """`argmin E_D(φθ) + (ridge/2n) ‖θ‖²`: maximum a posteriori under `θ ~ N(0, I/ridge)`."""
    assert isinstance(view.reward_class, LinearClass)
    gamma = ridge / data.n.to(torch.float64)
    return ridge_fit(view.reward_class.design, data, gamma, view.link)


def likeliest_member(view: LearnerView, data: WinnerCounts) -> BestResponse:
    """Maximum likelihood over the bounded class itself, with its certified gap."""
    seeds = len(data.n)
    nothing = torch.zeros(seeds, *view.reward_class.shape, dtype=torch.float64)
    one = torch.ones(seeds, dtype=torch.float64)
    return view.reward_class.best_response(nothing, one, data.fraction, view.link)


def class_likelihood(view: LearnerView, data: WinnerCounts) -> tuple[Tensor, Tensor]:
    """Rewards `(S, X, A)` and certified gap of :func:`likeliest_member`."""
    member = likeliest_member(view, data)
    return member.reward, member.gap


def greedy_policy(view: LearnerView, reward: Tensor, parameters: Any) -> GeneralPolicy:
    """Greedy in a member of the class, here and at other contexts."""
    cls = view.reward_class
    return GeneralPolicy(
        greedy(reward), lambda contexts: greedy(cls.reward_at(parameters, contexts.points))
    )


def tilted_policy(view: LearnerView, reward: Tensor, parameters: Any, beta: float) -> GeneralPolicy:
    """`π ∝ π_ref exp(r/β)` with a member of the class, here and at other contexts."""
    cls = view.reward_class
    return GeneralPolicy(
        tilt(view.reference, reward, beta),
        lambda contexts: tilt(contexts.reference, cls.reward_at(parameters, contexts.points), beta),
    )


@ALGORITHMS.register("mle_greedy")
@dataclass(frozen=True)
class GreedyMaximumLikelihood:
    """Play the best action of the reward fitted by maximum likelihood: no pessimism at all.

    The ridge (`ridge/n`, default 1/n) makes the fit unique: an action without comparisons keeps
    reward 0, and one that won its only comparison looks best. A class that is not linear has no
    parameters to put a ridge on: there the fit is the most likely member.
    """

    ridge: float = 1.0

    def __post_init__(self) -> None:
        checks.number("ridge", self.ridge, low=0, open_low=True)

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Treats everything."""
        return None

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Fit, then be greedy."""
        if not isinstance(view.reward_class, LinearClass):
            member = likeliest_member(view, data)
            policy = greedy_policy(view, member.reward, member.parameters)
            kind = "duality gap" if view.reward_class.certified else "estimate"
            return Fit(policy, kind, member.gap, reward=member.reward)
        fit = ridge_likelihood(view, data, self.ridge)
        policy = greedy_policy(view, fit.reward, fit.theta)
        return Fit(policy, "gradient norm", fit.gap, reward=fit.reward)


@ALGORITHMS.register("kl_rlhf")
@dataclass(frozen=True)
class KlRlhf:
    """RLHF: maximum likelihood over the class, then `π ∝ π_ref exp(r̂/β)`; `beta > 0`."""

    beta: float = 0.1

    def __post_init__(self) -> None:
        checks.number("beta", self.beta, low=0, open_low=True)

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Treats everything."""
        return None

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Fit the reward model, then solve the regularised problem in closed form."""
        fit = likeliest_member(view, data)
        policy = tilted_policy(view, fit.reward, fit.parameters, self.beta)
        kind = "duality gap" if view.reward_class.certified else "estimate"
        return Fit(policy, kind, fit.gap, reward=fit.reward)
