"""Maximum likelihood and what is built on it: greedy play and KL-regularised RLHF."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit import greedy, tilt
from spac_theory.preferences import WinnerCounts
from spac_theory.rewards.linear import LinearClass
from spac_theory.saddle.ridge import RidgeFit, ridge_fit
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy

NEEDS_LINEAR = "needs a linear (or tabular) reward class"


def ridge_likelihood(view: LearnerView, data: WinnerCounts, ridge: float) -> RidgeFit:
    """`argmin E_D(φθ) + (ridge/2n) ‖θ‖²`: maximum a posteriori under `θ ~ N(0, I/ridge)`."""
    assert isinstance(view.reward_class, LinearClass)
    gamma = ridge / data.n.to(torch.float64)
    return ridge_fit(view.reward_class.design, data, gamma, view.link)


def class_likelihood(view: LearnerView, data: WinnerCounts) -> tuple[Tensor, Tensor]:
    """Maximum likelihood over the bounded class itself: rewards `(S, X, A)` and certified gap."""
    seeds = len(data.n)
    nothing = torch.zeros(seeds, *view.reward_class.shape, dtype=torch.float64)
    one = torch.ones(seeds, dtype=torch.float64)
    response = view.reward_class.best_response(nothing, one, data.fraction, view.link)
    return response.reward, response.gap


@ALGORITHMS.register("mle_greedy")
@dataclass(frozen=True)
class GreedyMaximumLikelihood:
    """Play the best action of the reward fitted by maximum likelihood: no pessimism at all.

    The ridge (`ridge/n`, default 1/n) makes the fit unique: an action without comparisons keeps
    reward 0, and one that won its only comparison looks best.
    """

    ridge: float = 1.0

    def __post_init__(self) -> None:
        checks.number("ridge", self.ridge, low=0, open_low=True)

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Needs features."""
        return None if isinstance(view.reward_class, LinearClass) else NEEDS_LINEAR

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Fit, then be greedy."""
        fit = ridge_likelihood(view, data, self.ridge)
        policy = TabularPolicy(greedy(fit.reward))
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
        reward, gap = class_likelihood(view, data)
        policy = TabularPolicy(tilt(view.reference, reward, self.beta))
        return Fit(policy, "duality gap", gap, reward=reward)
