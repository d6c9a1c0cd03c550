"""The exact saddle of the game (3) for every class: one function, the class decides how.

| class | method | certificate |
|---|---|---|
| finite | interior point on the simplex of mixtures | duality gap |
| linear, tabular, kernel | interior point on theory (7) | duality gap |
| neural | Adam on a smoothing of theory (7), several starts | an estimate |
| any other | SPAC-T for many rounds | duality gap, or an estimate if its critic is one |

A class of one's own gets a solver of its own with `@saddle_of.register`.
"""

from __future__ import annotations

from functools import singledispatch

import torch

from spac_theory.devices import beside
from spac_theory.rewards.base import RewardClass, gap_kind
from spac_theory.rewards.finite import FiniteClass
from spac_theory.rewards.linear import LinearClass
from spac_theory.rewards.neural import NeuralClass
from spac_theory.saddle.finite import simplex_saddle
from spac_theory.saddle.game import Game, Saddle
from spac_theory.saddle.linear import fast_saddle
from spac_theory.saddle.mirror_descent import mirror_descent
from spac_theory.saddle.neural import neural_saddle

MIRROR_ROUNDS = 400
MIRROR_ROUNDS_ESTIMATED = 60


@singledispatch
def saddle_of(reward_class: RewardClass, game: Game, tolerance: float) -> Saddle:
    """Solve `game` over `reward_class`; the general answer is mirror descent.

    Mirror descent needs `T ~ 1/gap²` rounds, so `converged` is measured against Hedge's bound for
    the rounds played, not against `tolerance`; the gap itself is reported as it is.
    """
    kind = gap_kind(reward_class)
    rounds = MIRROR_ROUNDS if kind == "duality gap" else MIRROR_ROUNDS_ESTIMATED
    run = mirror_descent(game, rounds)
    converged = run.certificate.gap <= max(run.bound, tolerance)
    return Saddle(
        run.mixture,
        run.reward,
        run.certificate,
        converged,
        kind=kind,
        spread=run.spread if kind == "estimate" else None,
    )


@saddle_of.register
def _(reward_class: LinearClass, game: Game, tolerance: float) -> Saddle:
    return fast_saddle(game, tolerance)


@saddle_of.register
def _(reward_class: FiniteClass, game: Game, tolerance: float) -> Saddle:
    return simplex_saddle(game, tolerance)


@saddle_of.register
def _(reward_class: NeuralClass, game: Game, tolerance: float) -> Saddle:
    return neural_saddle(game)


@beside(lambda game, *rest, **options: game.lam)
def solve_saddle(game: Game, tolerance: float = 1e-8) -> Saddle:
    """`max_π min_{r∈𝓡} G`, certified to `tolerance` of value (`max(1, |L|)`) where the class allows."""
    saddle = saddle_of(game.reward_class, game, tolerance)
    assert isinstance(saddle.converged, torch.Tensor)
    return saddle
