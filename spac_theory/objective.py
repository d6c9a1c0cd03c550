"""The objective of SPAC: `E_D`, `L`, `G` and the two practical losses, in one place.

Every function is a pure function of tensors and knows nothing of tables, features or networks.
The exact bandit calls it with rewards `r(x,a)` and probability weights; a language model calls it
with sequence log-ratios `s(x,y) = β log(π(y|x)/π_t(y|x))` and one row a sampled response. There is
no second copy of this mathematics anywhere.

Numbers (1)–(10) are those of `docs/theory.md`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from spac_theory.checks import InputError, choice, number
from spac_theory.links import BRADLEY_TERRY, Link

Dim = int | tuple[int, ...]


def expectation(values: Tensor, weight: Tensor | None = None, dim: Dim = -1) -> Tensor:
    """`Σ weight · values` over `dim`; the plain mean when `weight` is None.

    `weight` must broadcast against `values` and sum to 1 over `dim` (it is not renormalised).
    """
    if weight is None:
        return values.mean(dim)
    return (weight * values).sum(dim)


def preference_loss(
    margin: Tensor, weight: Tensor | None = None, dim: Dim = -1, link: Link = BRADLEY_TERRY
) -> Tensor:
    """`E_D = −E[ log F(margin) ]`, theory (1).

    `margin` holds reward differences winner − loser. In the bandit it is `r(x,a) − r(x,b)` on every
    cell, weighted by winner counts over `n`; in a language model one margin a preference pair.
    """
    return expectation(link.loss(margin), weight, dim)


def relative_value(
    reward_policy: Tensor,
    reward_baseline: Tensor,
    weight_policy: Tensor | None = None,
    weight_baseline: Tensor | None = None,
    dim: Dim = -1,
) -> Tensor:
    """`L(π, r) = E_π[r] − E_ν[r]`, theory (2), from weights or from samples (weights None)."""
    return expectation(reward_policy, weight_policy, dim) - expectation(
        reward_baseline, weight_baseline, dim
    )


def game_value(relative: Tensor, preference: Tensor, lam: Tensor | float) -> Tensor:
    """`G = L + λ E_D`, theory (3). The leader maximises it over `π`, the critic minimises over `r`."""
    return relative + lam * preference


def tabular_margins(reward: Tensor) -> Tensor:
    """All differences `r(x,a) − r(x,b)`: `(..., A) -> (..., A, A)`."""
    return reward.unsqueeze(-1) - reward.unsqueeze(-2)


def tabular_preference_loss(
    reward: Tensor, win_fraction: Tensor, link: Link = BRADLEY_TERRY
) -> Tensor:
    """`E_D(r)` on winner counts: `reward (..., X, A)`, `win_fraction (..., X, A, A)` → `(...)`.

    `win_fraction[x,a,b]` is the share of the `n` comparisons in which `a` beat `b` at `x`; draws
    with `a = b` stay in and carry `log 2`.
    """
    return preference_loss(tabular_margins(reward), win_fraction, dim=(-3, -2, -1), link=link)


def tabular_relative_value(reward: Tensor, policy: Tensor, baseline: Tensor, rho: Tensor) -> Tensor:
    """`L(π, r)` exactly: `reward, policy, baseline (..., X, A)`, `rho (..., X)` → `(...)`."""
    weight = rho.unsqueeze(-1)
    return relative_value(reward, reward, weight * policy, weight * baseline, dim=(-2, -1))


def tabular_game(
    reward: Tensor,
    policy: Tensor,
    baseline: Tensor,
    rho: Tensor,
    win_fraction: Tensor,
    lam: Tensor | float,
    link: Link = BRADLEY_TERRY,
) -> Tensor:
    """`G(π, r)` exactly on winner counts, theory (3); shapes as in the two functions it adds."""
    relative = tabular_relative_value(reward, policy, baseline, rho)
    return game_value(relative, tabular_preference_loss(reward, win_fraction, link), lam)


def tabular_preference_gradient(
    reward: Tensor, win_fraction: Tensor, link: Link = BRADLEY_TERRY
) -> Tensor:
    """Gradient `(..., X, A)` of :func:`tabular_preference_loss` in the rewards."""
    slope = win_fraction * link.loss_derivatives(tabular_margins(reward))[0]
    return slope.sum(-1) - slope.sum(-2)


VECTOR = 8  # numbers that a processor treats at once, at most
LARGEST_INCIDENCE = 24  # actions; above, differences by a matrix product cost more than they save


class PreferenceGradient:
    """:func:`tabular_preference_gradient` of fixed counts, for loops that ask for it many times.

    Every unordered pair is looked at once, `W_ab ℓ(z) + W_ba ℓ(−z)`, and differences and their
    adjoint are products with the incidence matrix of the pairs.
    """

    def __init__(self, win_fraction: Tensor, link: Link = BRADLEY_TERRY) -> None:
        self.win_fraction, self.link = win_fraction, link
        actions = win_fraction.shape[-1]
        first, second = torch.triu_indices(actions, actions, 1, device=win_fraction.device)
        # Vector and scalar code round differently: with whole vectors a lane's bits know no batch.
        room = -len(first) % VECTOR
        self.wins = pad(win_fraction[..., first, second], (0, room))
        self.losses = pad(win_fraction[..., second, first], (0, room))
        eye = torch.eye(actions, dtype=win_fraction.dtype, device=win_fraction.device)
        incidence = pad(eye[first] - eye[second], (0, 0, 0, room))  # (pairs, A)
        self.incidence = incidence.expand(*win_fraction.shape[:-3], -1, -1)

    def __call__(self, reward: Tensor) -> Tensor:
        """The gradient `(..., X, A)` at `reward`."""
        if reward.shape[-1] > LARGEST_INCIDENCE:
            return tabular_preference_gradient(reward, self.win_fraction, self.link)
        slope = self.link.pair_slope(reward @ self.incidence.mT, self.wins, self.losses)
        return slope @ self.incidence


@dataclass(frozen=True)
class PreferenceTerm:
    """`Σ W ℓ(Δ_r)` of fixed weights, for solvers that ask for its derivatives many times.

    With `wins = λ W / n` it is `λ E_D`. `total` is `wins + winsᵀ`; both are `(..., X, A, A)`.
    """

    wins: Tensor
    total: Tensor
    link: Link = BRADLEY_TERRY

    @staticmethod
    def of(wins: Tensor, link: Link = BRADLEY_TERRY) -> PreferenceTerm:
        """The term of these weights."""
        return PreferenceTerm(wins, wins + wins.mT, link)

    def derivatives(self, reward: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient `(..., X, A)` and the edges `(..., X, A, A)` of the Hessian, at `reward`.

        The Hessian is, context by context, the graph Laplacian with edge weights
        `h_ab = W_ab ℓ″(z_ab) + W_ba ℓ″(z_ba)`; what stands on the diagonal of the edges means nothing.
        """
        margins = tabular_margins(reward)
        slope, edges = self.link.table_derivatives(margins, self.wins, self.total)
        return slope.sum(-1), edges

    def select(self, lanes: Tensor | slice) -> PreferenceTerm:
        """The lanes alone."""
        return PreferenceTerm(self.wins[lanes], self.total[lanes], self.link)


def laplacian(edges: Tensor) -> Tensor:
    """The graph Laplacian of edge weights `(..., A, A)`, written over them.

    Its rows sum to 0, whatever was on the diagonal of the edges.
    """
    matrix = edges.neg_()
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    diagonal.zero_()
    diagonal.sub_(matrix.sum(-1))
    return matrix


def tabular_preference_derivatives(
    reward: Tensor, win_fraction: Tensor, link: Link = BRADLEY_TERRY
) -> tuple[Tensor, Tensor]:
    """Gradient `(..., X, A)` and Hessian blocks `(..., X, A, A)` of :func:`tabular_preference_loss`.

    The Hessian is positive semidefinite with constants in its kernel, see :class:`PreferenceTerm`.
    """
    gradient, edges = PreferenceTerm.of(win_fraction, link).derivatives(reward)
    return gradient, laplacian(edges)


@dataclass(frozen=True)
class PracticalLoss:
    """The practical objective and its two parts: `total = critic + λ · preference`."""

    total: Tensor
    critic: Tensor
    preference: Tensor


def practical_loss(
    chosen: Tensor,
    rejected: Tensor,
    selfplay: Tensor,
    *,
    lam: float,
    beta: float,
    beta_c: float | None = None,
    w: float = 1.0,
    baseline: str = "both",
    form: str = "smoothed",
    weight: Tensor | None = None,
    selfplay_weight: Tensor | None = None,
) -> PracticalLoss:
    """The practical SPAC objective, theory (9) (`form="linear"`) or (10) (`form="smoothed"`).

    Parameters
    ----------
    chosen, rejected : (N,)
        `s(x,y) = β log(π(y|x)/π_t(y|x))` of the preferred and dispreferred response of each pair.
    selfplay : (N,) or (N, K)
        The same for responses `y' ~ π_t` at the prompt of each pair; K of them a row.
    lam : float ≥ 0
        `λ`, the weight of the preference likelihood.
    beta, beta_c : float > 0
        `β` of `s` and the critic's `β_c` (default `β`); only their ratio enters, and only in (10).
    w : float ≥ 0
        Weight of the critic term of (10); `w = 2β/β_c` matches the slope of (9) at `s = 0`.
    baseline : "both", "chosen" or "rejected"
        Which data responses stand for `ν`.
    weight : (N,) or None
        Probability of each row (None: all equal).
    selfplay_weight : (N, K) or None
        `π_t(y'|x)` when the K columns enumerate every response, for the exact expectation.

    With `w = 0` the smoothed form is `λ ×` the DPO loss with reference `π_t`; with `λ = 0` and
    `baseline="chosen"` it is SPIN. Form (9) is unbounded below for unconstrained `s`: use it with a
    bounded class or for a few small steps. Raises InputError for values outside these ranges.
    """
    lam = number("lam", lam, low=0)
    beta = number("beta", beta, low=0, open_low=True)
    ratio = number("beta_c", beta if beta_c is None else beta_c, low=0, open_low=True) / beta
    w = number("w", w, low=0)
    choice("baseline", baseline, ("both", "chosen", "rejected"))
    choice("form", form, ("linear", "smoothed"))
    if chosen.shape != rejected.shape or selfplay.shape[:1] != chosen.shape:
        raise InputError(
            f"chosen {tuple(chosen.shape)}, rejected {tuple(rejected.shape)} and selfplay "
            f"{tuple(selfplay.shape)} must share their first axis (one row a preference pair)."
        )
    preference = preference_loss(chosen - rejected, weight)
    used = {"both": (chosen, rejected), "chosen": (chosen,), "rejected": (rejected,)}[baseline]
    data = torch.stack(used, -1)  # (N, 1 or 2)
    play = selfplay if selfplay.ndim == 2 else selfplay.unsqueeze(-1)  # (N, K)
    if form == "linear":
        rows_policy = expectation(play, selfplay_weight)
        critic = relative_value(rows_policy, data.mean(-1), weight, weight)
    else:
        margin = ratio * (data.unsqueeze(-1) - play.unsqueeze(-2))  # (N, 1 or 2, K)
        columns = None if selfplay_weight is None else selfplay_weight.unsqueeze(-2)
        critic = w * expectation(preference_loss(margin, columns).mean(-1), weight)
    return PracticalLoss(game_value(critic, preference, lam), critic, preference)
