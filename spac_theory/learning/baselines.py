"""The baseline `ν` of the relative value: which policy a learner must beat, as an option.

Preferences fix a reward only up to a shift of each context; subtracting any distribution `ν` makes
`L(π, r)` blind to such shifts. Which `ν` matters for small `λ`: the saddle then returns `ν` itself.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.view import LearnerView

BASELINES = ("view", "reference", "uniform", "chosen", "both")


def share(counts: Tensor, fallback: Tensor) -> Tensor:
    """Counts `(S, X, A)` as distributions over actions; `fallback (X, A)` where `x` is new."""
    total = counts.sum(-1, keepdim=True)
    return torch.where(total > 0, counts / total.clamp_min(1), fallback)


def baseline_policy(name: str, view: LearnerView, data: WinnerCounts) -> Tensor:
    """`ν`, `(X, A)`, or `(S, X, A)` where it comes from the data.

    "view" is the view's own (the behaviour, unless the experiment says otherwise), "chosen" the
    winners of the data, "both" winners and losers alike.
    """
    checks.choice("baseline", name, BASELINES)
    wins = data.wins.to(torch.float64)
    if name == "reference":
        return view.reference
    if name == "uniform":
        return torch.full_like(view.baseline, 1 / view.baseline.shape[-1])
    if name == "chosen":
        return share(wins.sum(-1), view.reference)
    if name == "both":
        return share(wins.sum(-1) + wins.sum(-2), view.reference)
    return view.baseline


def with_baseline(name: str, view: LearnerView, data: WinnerCounts) -> LearnerView:
    """The same view with another `ν`."""
    return view if name == "view" else replace(view, baseline=baseline_policy(name, view, data))
