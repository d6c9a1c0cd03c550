"""General preferences as a symmetric zero-sum game, exactly.

Two players answer the same prompt; the first wins with probability `P(π ≻ π'|x)`. An equilibrium
policy is one that no response beats more than half of the time. Rewards are not needed, and `P` may
be intransitive.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.likelihood import ridge_likelihood
from spac_theory.learning.needs import FEATURES, PREFERENCES
from spac_theory.links import Link
from spac_theory.objective import tabular_margins
from spac_theory.view import LearnerView, Oracle

MODELS = ("counts", "ridge", "fitted", "true")
NEWTON_STEPS = 60
RIDGE = 1.0  # of the fits, in units of 1/n


def win_rate(preference: Tensor, opponent: Tensor) -> Tensor:
    """`Q(a|x) = P(a ≻ π'|x)`: `preference (..., X, A, A)`, `opponent (..., X, A)` → `(..., X, A)`."""
    return (preference @ opponent.unsqueeze(-1)).squeeze(-1)


def exploitability(policy: Tensor, preference: Tensor, rho: Tensor) -> Tensor:
    """`E_x max_a P(a ≻ π|x) − ½ ≥ 0`, zero exactly at an equilibrium; `(..., X, A) -> (...)`.

    The game is symmetric, so the duality gap of the pair `(π, π)` is twice this number.
    """
    return (rho * win_rate(preference, policy).max(-1).values).sum(-1) - 0.5


def regularised_exploitability(
    policy: Tensor, preference: Tensor, rho: Tensor, magnet: Tensor, alpha: float
) -> Tensor:
    """Exploitability of `P(π ≻ π') − α KL(π‖π_mag) + α KL(π'‖π_mag)`: `(..., X, A) -> (...)`.

    The best response is `∝ π_mag exp(Q/α)`, worth `α log E_mag exp(Q/α)`.
    """
    q = win_rate(preference, policy)
    best = alpha * torch.logsumexp(magnet.log() + q / alpha, -1)
    divergence = (policy * (policy.clamp_min(1e-300).log() - magnet.log())).sum(-1)
    own = (policy * q).sum(-1) - alpha * divergence
    return (rho * (best - own)).sum(-1)


def multiplicative(policy_log: Tensor, payoff: Tensor, eta: float) -> Tensor:
    """`log π'` of `π' ∝ π exp(η Q)`, the step that SPPO, DNO and REBEL share."""
    return torch.log_softmax(policy_log + eta * payoff, -1)


def model_needs(model: str) -> frozenset[str]:
    """What a model of preferences needs of a setting."""
    return {"fitted": frozenset({FEATURES}), "true": frozenset({PREFERENCES})}.get(
        model, frozenset()
    )


def pairwise_margins(wins: Tensor, link: Link, ridge: float) -> Tensor:
    """`argmin W ℓ(m) + Wᵀ ℓ(−m) + (ridge/2) m²` of every pair alone, `(..., A, A)`, by Newton's method.

    From 0, where the logistic loss bends most, each step falls short of the minimum: none overshoots.
    """
    won = wins.to(torch.float64)
    lost = won.transpose(-1, -2)
    margin = torch.zeros_like(won)
    for _ in range(NEWTON_STEPS):
        first, second = link.loss_derivatives(margin)
        back, bent = link.loss_derivatives(-margin)
        slope = won * first - lost * back + ridge * margin
        margin = margin - slope / (won * second + lost * bent + ridge)
    return (margin - margin.transpose(-1, -2)) / 2


def learn_preference(
    model: str, view: LearnerView, data: WinnerCounts, oracle: Oracle | None
) -> Tensor:
    """`P̂(a ≻ b|x)`, `(S, X, A, A)`, with `P̂ + P̂ᵀ = 1`.

    "counts" is the share of wins with one pseudo comparison at ½, and "ridge" a margin of its own for
    each pair: both may be intransitive. "fitted" is the link of the ridge fit of a reward; the
    equilibrium of such a `P̂` is the greedy policy of that reward. "true" is the oracle's matrix.
    """
    checks.choice("preference", model, MODELS)
    seeds = len(data.n)
    if model == "true":
        assert oracle is not None
        assert oracle.preference is not None
        return oracle.preference.probability.expand(seeds, -1, -1, -1)
    if model == "counts":
        wins = data.wins.to(torch.float64)
        total = wins + wins.transpose(-1, -2)
        return (wins + 0.5) / (total + 1)
    if model == "ridge":
        return view.link.probability(pairwise_margins(data.wins, view.link, RIDGE))
    return view.link.probability(tabular_margins(ridge_likelihood(view, data, RIDGE).reward))
