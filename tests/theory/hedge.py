"""The gap of SPAC-T beside Hedge's bound `R √(log A / (2T))`, on random games.

Run it as `python -m tests.theory.hedge`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from experiments.claims.games.instances import KINDS, random_game, random_member
from spac_theory import Game, mirror_descent
from spac_theory.keys import generator
from spac_theory.rewards.finite import FiniteClass


def hedge_bound(game: Game, rounds: int, start: Tensor | None = None) -> float:
    """`R √(width / (2T))` from the theory page, `width = log A` or `max log 1/π_1`."""
    width = math.log(game.reward_class.shape[1]) if start is None else float(-start.min().log())
    return game.reward_class.difference_bound * math.sqrt(width / (2 * rounds))


def small_game(index: int, seeds: int = 4) -> Game:
    """Game `index` with X ≤ 4 and A ≤ 5; every kind of class in turn."""
    return random_game(index, seeds, KINDS[index % 6], max_contexts=4, max_actions=5)


def finite_game(index: int, seeds: int = 4, members: int = 20) -> Game:
    """The same over a finite class: random members of the convex one."""
    game = small_game(index, seeds)
    rewards = random_member(generator("finite members", index), game.reward_class, members)
    return Game(FiniteClass(rewards), game.data, game.lam, game.rho, game.baseline, game.link)


def gap_ratio(game: Game, rounds: int, start: Tensor | None = None) -> float:
    """Certified gap of the mixture over the bound, the largest of the data sets."""
    run = mirror_descent(game, rounds, start)
    assert float(run.certificate.gap.min()) >= -1e-9
    return float(run.certificate.gap.max()) / hedge_bound(game, rounds, start)


def main() -> None:
    """Largest ratios for T = 10, 100, 1000."""
    torch.set_grad_enabled(False)
    for rounds, games in ((10, 24), (100, 12), (1000, 6)):
        convex = [gap_ratio(small_game(i), rounds) for i in range(games)]
        finite = [gap_ratio(finite_game(i), rounds) for i in range(games)]
        ratios = f"{max(convex):.3f} (linear classes), {max(finite):.3f} (finite classes)"
        print(f"T = {rounds:4d}  {games} games of each kind  gap / bound at most {ratios}")


if __name__ == "__main__":
    main()
