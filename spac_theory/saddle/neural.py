"""The game with a network as critic: theory (7) smoothed and descended, and only estimated.

    min over weights   E_x τ log mean_a exp(r/τ)  −  E_x r(x, ν)  +  λ E_D(r),      τ → τ_end.

The policy is `softmax(r/τ_end)`. The class is not convex, so the minimum need not be the value of
the game. The upper end of the certificate is a true bound (one critic is a mixture of one); the lower
end is the best critic that the searches found, so the gap is an estimate. :func:`relaxed_certificate`
gives a bound instead, with tables in the place of networks.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from spac_theory.objective import tabular_preference_loss
from spac_theory.rewards.linear import tabular_class
from spac_theory.rewards.neural import NeuralClass
from spac_theory.saddle.game import Certificate, Game, Saddle

FIRST_TEMPERATURE, LAST_TEMPERATURE = 0.3, 0.01
STEPS_PER_SEARCH = 3
TOLERANCE = 1e-2


def relaxed_certificate(game: Game, policy: Tensor, reward: Tensor) -> Certificate:
    """A rigorous, loose certificate of `policy` and a network `reward`, both `(S, X, A)`.

    Every network of the class is a table with rewards in `[−output_bound, output_bound]`, so the certified
    critic over those tables is below every network: `min_𝓡 G(π, ·) ≥ lower`. One network as the critic is
    a mixture of one: `max_π min_𝓡 G ≤ upper`. With its gap as `ε_opt`, (T1) holds for the class of networks.
    """
    cls = game.reward_class
    assert isinstance(cls, NeuralClass), "the relaxation is that of a class of networks"
    bound = cls.output_bound
    tables = replace(game, reward_class=tabular_class(*cls.shape, reward_range=(-bound, bound)))
    response = tables.best_response(policy)
    return Certificate(response.value - response.gap, game.leader_value(reward))


def neural_saddle(game: Game) -> Saddle:
    """Search from every start of the class; `converged` asks for a gap of 0.01 · max(1, |G|)."""
    cls = game.reward_class
    assert isinstance(cls, NeuralClass), "neural_saddle needs a class of networks"
    lam = game.lam.repeat_interleave(cls.starts)
    fraction = game.data.fraction.repeat_interleave(cls.starts, 0)

    def value(reward: Tensor, progress: float) -> Tensor:
        tau = FIRST_TEMPERATURE * (LAST_TEMPERATURE / FIRST_TEMPERATURE) ** progress
        best = tau * torch.logsumexp(reward / tau, -1)
        relative = best - (game.baseline * reward).sum(-1)
        loss = tabular_preference_loss(reward, fraction, game.link)
        return (game.rho * relative).sum(-1) + lam * loss

    weights = cls.search(value, lam, STEPS_PER_SEARCH * cls.steps)
    found = cls.best_start(weights, value)
    policy = torch.softmax(found.reward / LAST_TEMPERATURE, -1)
    upper = game.leader_value(found.reward)
    answers = [game.value(policy, found.reward)]  # the critic itself, and two searches for a better
    answers += [game.best_response(policy, warm=warm).value for warm in (None, found.warm)]
    certificate = Certificate(torch.stack(answers).amin(0), upper)
    scale = certificate.upper.abs().clamp_min(1)
    return Saddle(
        policy,
        found.reward,
        certificate,
        certificate.gap <= TOLERANCE * scale,
        kind="estimate",
        parameters=found.parameters,
        spread=found.gap,
    )
