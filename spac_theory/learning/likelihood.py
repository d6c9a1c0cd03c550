"""Maximum likelihood over a class, with a ridge or within its bound, and policies read off it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spac_theory.bandit.contextual import greedy, tilt
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.needs import featured
from spac_theory.solvers.ridge import RidgeFit, ridge_fit
from spac_theory.view import GeneralPolicy, LearnerView


def ridge_likelihood(view: LearnerView, data: WinnerCounts, ridge: float) -> RidgeFit:
    """`argmin E_D(φθ) + (ridge/2n) ‖θ‖²`: maximum a posteriori under `θ ~ N(0, I/ridge)`."""
    gamma = ridge / data.n.to(torch.float64)
    return ridge_fit(featured(view).design, data, gamma, view.link)


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
