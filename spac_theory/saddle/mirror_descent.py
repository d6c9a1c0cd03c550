"""SPAC-T, the paper's Algorithm 1: entropic mirror ascent against a certified critic, theory (4)–(5)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.devices import beside
from spac_theory.objective import tabular_preference_loss
from spac_theory.saddle.follower import follower_of
from spac_theory.saddle.game import Certificate, Game, certify

CRITICS = ("inexact", "exact")
CRITIC_SHARE = 1e-2  # of Hedge's bound: what the critics may fall short of the best answers


@dataclass(frozen=True)
class SelfPlay:
    """What SPAC-T returns.

    Attributes
    ----------
    mixture : (S, X, A)
        `π̄ = (1/T) Σ π_t`, the policy of the guarantee.
    last : (S, X, A)
        `π_T`, the last policy the critic answered.
    reward : (S, X, A)
        `r̄ = (1/T) Σ r_t`, in the class if that is convex.
    certificate : the certificate (6) of `π̄` and `r̄`, or the uniform mixture of the `r_t`.
    bound : float
        Hedge's guarantee on that gap, `R √(log A / (2T))`, plus the critics' average gap.
    eta : the step `η`
    parameters : of every critic `r_t`, in order
    spread : (S,)
        The largest gap a critic reported: its certificate, or the spread of its starts.
    critic_gap : (S,)
        The average of those gaps over the rounds, the term that the bound adds.
    """

    mixture: Tensor
    last: Tensor
    reward: Tensor
    certificate: Certificate
    bound: float
    eta: float
    parameters: list[Any]
    spread: Tensor
    critic_gap: Tensor


def hedge_width(start: Tensor) -> float:
    """`log A` for a uniform start, `max log(1/π_1)` otherwise (infinite without full support)."""
    return float(-start.min().log()) if float(start.min()) > 0 else math.inf


@beside(lambda game, *rest, **options: game.lam)
def mirror_descent(
    game: Game,
    iterations: int,
    start: Tensor | None = None,
    eta: float | None = None,
    critic: str = "inexact",
) -> SelfPlay:
    """Run SPAC-T for `T = iterations` rounds from `π_1 = start (X, A)` (uniform by default).

    `eta` defaults to Hedge's step `√(8 log A / T) / R`, with `log A` replaced by
    `max log 1/π_1` for another start. The critics of all rounds together fall short of the best
    answers by at most a certified hundredth of Hedge's bound, on average over the rounds, and what it
    is, is added to the bound; with `critic="exact"` every single one is that good (see
    :mod:`~spac_theory.saddle.follower`). Raises InputError for `T < 1`, a start without full support,
    a step that is not positive, or another `critic`.
    """
    checks.integer("iterations", iterations, low=1)
    checks.choice("critic", critic, CRITICS)
    contexts, actions = game.reward_class.shape
    first = torch.full((contexts, actions), 1 / actions, dtype=torch.float64)
    first = first if start is None else checks.as_tensor("start", start, (contexts, actions))
    checks.simplex("start", first)
    width, bound = hedge_width(first), game.reward_class.difference_bound
    if math.isinf(width):
        raise checks.InputError("start has a zero probability; mirror ascent needs full support.")
    if eta is None:  # where R = 0 no reward tells actions apart, and any step does nothing
        eta = math.sqrt(8 * width / iterations) / bound if bound > 0 else 1.0
    checks.number("eta", eta, low=0, open_low=True)
    hedge = bound * math.sqrt(width / (2 * iterations))
    return _play(game, iterations, first, eta, hedge, critic)


def _play(
    game: Game, iterations: int, first: Tensor, eta: float, hedge: float, critic: str
) -> SelfPlay:
    """The rounds (4)–(5), and the certificate of their averages."""
    share = max(1e-9, CRITIC_SHARE * hedge)
    follower = follower_of(
        game, critic, max(1e-9, share / max(1.0, game.reward_class.difference_bound))
    )
    logits = first.log().expand(len(game.lam), -1, -1)
    mixture, reward = torch.zeros_like(logits), torch.zeros_like(logits)
    slack, losses = torch.zeros_like(game.lam), torch.zeros_like(game.lam)
    policy, spread, parameters = first, torch.zeros_like(game.lam), []
    for t in range(1, iterations + 1):
        policy = torch.softmax(logits, -1)
        found = follower.answer(policy, (t * share - slack).clamp_min(share / 2))
        mixture, reward = mixture + policy, reward + found.reward
        slack, spread = slack + found.gap, torch.maximum(spread, found.gap)
        parameters.append(found.parameters)
        if not game.reward_class.convex:
            fraction = game.data.fraction
            losses = losses + tabular_preference_loss(found.reward, fraction, game.link)
        logits = logits + eta * found.reward
    mixture, reward, slack = mixture / iterations, reward / iterations, slack / iterations
    certificate = certify(
        game, mixture, reward, loss=None if game.reward_class.convex else losses / iterations
    )
    guarantee = hedge + float(slack.max())
    return SelfPlay(mixture, policy, reward, certificate, guarantee, eta, parameters, spread, slack)
