"""No answer of the exact solvers is NaN, whatever the scale of the game."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.claims import CLAIMS, Outcome
from experiments.claims.games.fuzz import KINDS, Batch, draw_batch
from spac_theory import Game, WinnerCounts
from spac_theory.checks import NotANumber
from spac_theory.saddle.game import Saddle
from spac_theory.saddle.reference.conic import conic_saddle
from spac_theory.saddle.reference.linear_program import linear_program_saddle
from spac_theory.saddle.solve import solve_saddle
from spac_theory.solvers.program import ROUNDING

LANES = 64
CRITIC = 1e-9
JUDGED = (1e-3, 1e3)  # the λ at which the reference solvers are accurate to AGREED
AGREED = 1e-5
SHARE = 2e-3  # of the lanes, allowed to miss their tolerance


@dataclass
class Count:
    """What is counted over all lanes; `apart` are certificates that exclude a reference's value."""

    lanes: int = 0
    nans: int = 0
    saddles: int = 0
    critics: int = 0
    worst: float = 0.0
    judged: int = 0
    apart: int = 0
    silent: int = 0

    @property
    def holds(self) -> bool:
        """No NaN, no certificate that excludes the truth, few lanes beyond their tolerance, each said."""
        few = max(self.saddles, self.critics) <= max(1, self.lanes * SHARE)
        return self.nans == 0 and self.apart == 0 and self.silent == 0 and few

    @property
    def words(self) -> str:
        """The line on the page of claims."""
        return (
            f"{self.lanes} lanes: {self.nans} with a NaN; beyond the tolerance the saddle in {self.saddles}, "
            f"the critic in {self.critics} (largest gap {self.worst:.1g}; {self.silent} of them not said); "
            f"of {self.judged} certificates {self.apart} exclude the value of Clarabel or HiGHS"
        )


def _late(batch: Batch, reward: Tensor, gap: Tensor) -> Tensor:
    """Lanes where the critic's gap is above `1e-9 max(1, |⟨c, r⟩|)` and above rounding of `λ E_D`."""
    game = batch.game
    linear = (game.rho[:, None] * (batch.policies - game.baseline) * reward).sum((-2, -1))
    return gap > torch.maximum(CRITIC * linear.abs().clamp_min(1), ROUNDING * game.lam)


def one_game(game: Game, lane: int) -> Game:
    """The game of one lane."""
    wins = WinnerCounts(game.data.wins[lane : lane + 1])
    return Game(game.reward_class, wins, game.lam[lane : lane + 1], game.rho, game.baseline)


def reference_value(kind: str, game: Game) -> float:
    """The value of a game by HiGHS or Clarabel."""
    if kind == "finite":
        certificate = linear_program_saddle(game).certificate
        return float(certificate.lower + certificate.upper) / 2
    with warnings.catch_warnings():  # Clarabel says where it falls short of 1e-10
        warnings.simplefilter("ignore")
        return conic_saddle(game).value


def _judge(count: Count, kind: str, game: Game, saddle: Saddle, most: int) -> None:
    """Check that certificates of up to `most` lanes hold the value that a reference finds."""
    low, high = JUDGED
    fair = ((game.lam >= low) & (game.lam <= high)).nonzero().flatten().tolist()
    for lane in fair[:most]:
        value = reference_value(kind, one_game(game, lane))
        bounds = saddle.certificate
        slack = AGREED * max(1.0, abs(value))
        inside = bounds.lower[lane] - slack <= value <= bounds.upper[lane] + slack
        count.judged += 1
        count.apart += not inside


def _batches(count: int) -> Iterator[tuple[str, int, Batch]]:
    for kind in KINDS:
        for index in range(count):
            yield kind, index, draw_batch(kind, index, LANES)


@CLAIMS.register("no_nan_and_certified")
def no_nan_and_certified(size: str) -> Outcome:
    """The exact solvers never answer NaN, and certify what they answer.

    Over every class with n from 1 to 1e12, λ from 1e-8 to 1e8 and ordinary, weak, separable or empty
    preferences no policy, reward or bound is NaN, at most two lanes in 1000 miss their tolerance, and say
    so; certificates hold the values of Clarabel and HiGHS.
    """
    batches, judged = (1, 1) if size == "small" else (200, 40)
    count = Count()
    for kind, index, batch in _batches(batches):
        count.lanes += LANES
        try:
            saddle = solve_saddle(batch.game)
            response = batch.game.best_response(batch.policies)
        except NotANumber:
            count.nans += LANES
            continue
        gaps = torch.stack([saddle.certificate.gap, response.gap])
        count.nans += int((~torch.isfinite(gaps)).any(0).sum())
        count.saddles += int((~saddle.converged).sum())
        late = _late(batch, response.reward, response.gap)
        count.critics += int(late.sum())
        if response.converged is not None:
            count.silent += int((late & response.converged).sum())
        count.worst = max(count.worst, float(gaps.max()))
        if index < judged:
            _judge(count, kind, batch.game, saddle, 1)
    return Outcome(count.holds, count.words)
