"""SPAC-T, the paper's Algorithm 1: entropic mirror ascent against an exact critic, theory (4)–(5)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.objective import tabular_preference_loss
from spac_theory.saddle.game import Certificate, Game, certify


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
        Hedge's guarantee on that gap, `R √(log A / (2T))`, plus the critics' own gaps.
    eta : the step `η`
    parameters : of every critic `r_t`, in order
    spread : (S,)
        The largest gap a critic reported: its certificate, or the spread of its starts.
    """

    mixture: Tensor
    last: Tensor
    reward: Tensor
    certificate: Certificate
    bound: float
    eta: float
    parameters: list[Any]
    spread: Tensor


def hedge_width(start: Tensor) -> float:
    """`log A` for a uniform start, `max log(1/π_1)` otherwise (infinite without full support)."""
    return float(-start.min().log()) if float(start.min()) > 0 else math.inf


def mirror_descent(
    game: Game,
    iterations: int,
    start: Tensor | None = None,
    eta: float | None = None,
) -> SelfPlay:
    """Run SPAC-T for `T = iterations` rounds from `π_1 = start (X, A)` (uniform by default).

    `eta` defaults to Hedge's step `√(8 log A / T) / R`, with `log A` replaced by
    `max log 1/π_1` for another start. Every critic is exact to a certified hundredth of Hedge's
    bound, and what it falls short is added to the bound. Raises InputError for `T < 1`, a start
    without full support, or a step that is not positive.
    """
    checks.integer("iterations", iterations, low=1)
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
    tolerance = max(
        1e-9, 1e-2 * hedge / max(1.0, bound)
    )  # critics are certified relative to max(1, |L|)
    logits = first.log().expand(len(game.lam), -1, -1)
    mixture, reward = torch.zeros_like(logits), torch.zeros_like(logits)
    slack, losses, warm = torch.zeros_like(game.lam), torch.zeros_like(game.lam), None
    policy, spread, parameters = first, torch.zeros_like(game.lam), []
    for _ in range(iterations):
        policy = torch.softmax(logits, -1)
        critic = game.best_response(policy, tolerance, warm)
        warm = critic.warm
        mixture, reward = mixture + policy, reward + critic.reward
        slack, spread = slack + critic.gap, torch.maximum(spread, critic.gap)
        parameters.append(critic.parameters)
        if not game.reward_class.convex:
            fraction = game.data.fraction
            losses = losses + tabular_preference_loss(critic.reward, fraction, game.link)
        logits = logits + eta * critic.reward
    mixture, reward = mixture / iterations, reward / iterations
    guarantee = hedge + float(slack.max()) / iterations
    certificate = certify(
        game, mixture, reward, loss=None if game.reward_class.convex else losses / iterations
    )
    return SelfPlay(mixture, policy, reward, certificate, guarantee, eta, parameters, spread)
