"""HyPO, hybrid preference optimisation, Song et al. (2024), arXiv 2406.01462."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.algorithms import ALGORITHMS
from spac_theory.algorithms.maximum_likelihood import NEEDS_LINEAR, ridge_likelihood
from spac_theory.algorithms.rpo import dpo_loss
from spac_theory.bandit import tilt
from spac_theory.optimise import SMALLEST_REFERENCE, fit_policy, log_reference
from spac_theory.preferences import WinnerCounts
from spac_theory.rewards.linear import LinearClass
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


@ALGORITHMS.register("hypo")
@dataclass(frozen=True)
class HyPo:
    """`min L_DPO + λ E_x KL(π ‖ π_ref)`: the KL term is what online samples of `π` estimate.

    With a table the expectation over `π` is exact, so no sample and no label is spent; a network
    would draw from itself. Not convex in either parametrisation: `π_ref`, DPO's closed form and the
    even mixture of both are the starts.

    Attributes
    ----------
    beta : `β > 0` of DPO
    lam : weight `λ ≥ 0` of the KL term
    ridge : tie-break, as for `dpo`
    """

    beta: float = 0.1
    lam: float = 0.01
    ridge: float = 1.0

    def __post_init__(self) -> None:
        checks.number("beta", self.beta, low=0, open_low=True)
        checks.number("lam", self.lam, low=0)
        checks.number("ridge", self.ridge, low=0, open_low=True)

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Needs features."""
        return None if isinstance(view.reward_class, LinearClass) else NEEDS_LINEAR

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Minimise from three starts."""
        base = log_reference(view)

        def loss(
            logits: Tensor, log_policy: Tensor, wins: Tensor, base: Tensor, rho: Tensor
        ) -> Tensor:
            divergence = (log_policy.exp() * (log_policy - base)).sum(-1)
            return dpo_loss(view, logits, wins, self.beta) + self.lam * rho * divergence

        dpo = tilt(view.reference, ridge_likelihood(view, data, self.ridge).reward, self.beta)
        starts = [torch.zeros_like(dpo)]
        for policy in (dpo, (dpo + view.reference) / 2):
            starts.append(policy.clamp_min(SMALLEST_REFERENCE).log() - base)
        found = fit_policy(
            view,
            loss,
            [data.fraction, base.unsqueeze(0), view.rho.unsqueeze(0)],
            starts,
            self.ridge * self.beta**2 / data.n.to(torch.float64),
        )
        return Fit(
            TabularPolicy(found.policy),
            "stationarity",
            found.gradient_norm,
            converged=found.converged,
            extra={"spread": found.spread},
        )
