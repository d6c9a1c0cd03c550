"""No answer of the exact solvers is NaN, whatever the scale of the game."""

from __future__ import annotations

import torch

from experiments.claims import CLAIMS, Outcome


@CLAIMS.register("no_nan_and_certified")
def no_nan_and_certified(size: str) -> Outcome:
    """The exact solvers never answer NaN and certify what they answer.

    Over every class with n from 1 to 1e12, λ from 1e-8 to 1e8 and ordinary, weak, separable or empty
    preferences no policy, reward or bound is NaN, and at most one lane in a thousand misses its tolerance.
    """
    from experiments.claims.games.fuzz import KINDS, draw_batch
    from spac_theory.checks import NotANumber
    from spac_theory.saddle.solve import solve_saddle

    per_batch = 32 if size == "small" else 64
    batches = 1 if size == "small" else 200
    lanes = missed = nans = 0
    for kind in KINDS:
        for index in range(batches):
            batch = draw_batch(kind, index, per_batch)
            try:
                saddle = solve_saddle(batch.game)
                response = batch.game.best_response(batch.policies)
                nans += int((~torch.isfinite(saddle.certificate.gap + response.gap)).sum())
                missed += int((~saddle.converged).sum())
            except NotANumber:
                nans += per_batch
            lanes += per_batch
    text = f"{lanes} lanes: {nans} with a NaN, {missed} beyond the tolerance of the saddle"
    return Outcome(nans == 0 and missed <= lanes / 1000, text)
