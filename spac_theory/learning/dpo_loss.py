"""The DPO loss on a policy's log-ratios, alone and with a supervised term (RPO, VPO)."""

from __future__ import annotations

import torch
from torch import Tensor

from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.optimise import PolicyFit, fit_policy
from spac_theory.objective import preference_loss, tabular_margins
from spac_theory.view import Fit, LearnerView, TabularPolicy


def dpo_loss(view: LearnerView, log_ratio: Tensor, wins: Tensor, beta: float) -> Tensor:
    """`−E_D log σ(β(h(a⁺) − h(a⁻)))`, `h = log π/π_ref (L, X, A)`: one value a context."""
    return preference_loss(beta * tabular_margins(log_ratio), wins, (-2, -1), view.link)


def supervised_dpo(
    view: LearnerView,
    data: WinnerCounts,
    beta: float,
    weight: Tensor,
    target: Tensor,
    ridge: float,
) -> PolicyFit:
    """`min L_DPO − weight · β Σ target · log π` plus a ridge on `βℓ`; convex in the logits.

    `weight (S,)`; `target (S, X, A)` sums to 1 over contexts and actions.
    """
    cost = weight[:, None, None] * beta * target

    def loss(log_ratio: Tensor, log_policy: Tensor, wins: Tensor, cost: Tensor) -> Tensor:
        return dpo_loss(view, log_ratio, wins, beta) - (cost * log_policy).sum(-1)

    start = torch.zeros(data.wins.shape[:3], dtype=torch.float64)
    gamma = ridge * beta**2 / data.n.to(torch.float64)
    return fit_policy(view, loss, [data.fraction, cost], [start], gamma)


def supervised_fit(found: PolicyFit, beta: float, lam: Tensor) -> Fit:
    """The result of :func:`supervised_dpo`; `lam (S,)` is the weight of the likelihood in its game."""
    return Fit(
        TabularPolicy(found.policy),
        "gradient norm",
        found.gradient_norm,
        lam,
        beta * found.logits,
        found.converged,
    )
