"""The fast saddle in batches against CVXPY with Clarabel, problem by problem, in one run.

Run it as `python -m benchmarks.fast_saddle`. The linear rows solve 64 games at X = 50, A = 20, d = 50,
n = 5000 over a ball to a gap of 1e-6 in value; the tabular rows 100 games of 10 x 10 with rewards in
[0, 1]. Times are of the processor, so that other work on the machine does not count; those of the reference
include what CVXPY spends on compiling each problem. All answers are
judged by one certificate, computed afresh from the policy and reward each solver returned.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory import (
    Game,
    LinearClass,
    PreferenceModel,
    WinnerCounts,
    certify,
    fast_saddle,
    mirror_descent,
    pair_law,
    sample_winner_counts,
    tabular_class,
    winner_law,
)
from spac_theory.keys import generator
from spac_theory.saddle.reference.conic import conic_saddle

GAP = 1e-6
COLUMNS = ("problem", "solver", "problems", "ms each", "ratio", "worst gap")


@dataclass(frozen=True)
class Row:
    """One line of the table: processor seconds for `problems` games and the worst relative gap."""

    problem: str
    solver: str
    problems: int
    seconds: float
    gap: float

    @property
    def milliseconds(self) -> float:
        """Processor time a problem."""
        return 1e3 * self.seconds / self.problems


def draw(cls: LinearClass, reward: Tensor, n: int, count: int, *key: str) -> Game:
    """`count` games on data from a random behaviour, `λ = √n`, baseline the behaviour."""
    contexts, actions = cls.shape
    rng = generator("benchmark", *key)
    behaviour = torch.from_numpy(rng.dirichlet([1.0] * actions, contexts))
    rho = torch.full((contexts,), 1 / contexts, dtype=torch.float64)
    law = winner_law(rho, pair_law(behaviour), PreferenceModel.from_reward(reward))
    data = sample_winner_counts(law, n, range(count), "benchmark", *key)
    return Game(cls, data, data.n.double().sqrt(), rho, behaviour)


def linear_game(count: int) -> Game:
    """X = 50, A = 20, d = 50: random features of length 1, `‖θ*‖ = 1`, ball of radius 1."""
    rng = generator("benchmark", "linear")
    features = torch.from_numpy(rng.standard_normal((50, 20, 50)))
    features = features / features.norm(dim=-1, keepdim=True)
    theta = torch.from_numpy(rng.standard_normal(50))
    cls = LinearClass(features, norm_bound=1.0)
    return draw(cls, features @ (theta / theta.norm()), 5000, count, "linear")


def tabular_game(count: int) -> Game:
    """A 10 x 10 table with rewards in [0, 1]."""
    reward = torch.from_numpy(generator("benchmark", "table").uniform(0, 1, (10, 10)))
    cls = tabular_class(10, 10, reward_range=(0.0, 1.0))
    return draw(cls, reward, 5000, count, "tabular")


def relative_gap(game: Game, policy: Tensor, reward: Tensor) -> float:
    """The worst certified gap of any pairs, over `max(1, |L|)`, computed afresh."""
    certificate = certify(game, policy, reward, tolerance=1e-9)
    return float((certificate.gap / value_scale(game, reward)).max())


def value_scale(game: Game, reward: Tensor) -> Tensor:
    """`max(1, |L|)` at a critic: `λ E_D`, however large, is no measure of what a policy is worth."""
    return game.leader_value(reward, torch.zeros_like(game.lam)).abs().clamp_min(1)


def timed(work: Callable[[], tuple[Tensor, Tensor]]) -> tuple[float, Tensor, Tensor]:
    """Processor seconds, policy and reward."""
    start = time.process_time()
    policy, reward = work()
    return time.process_time() - start, policy, reward


def ours(name: str, game: Game, repeats: int = 5) -> Row:
    """The whole batch at once; the best of a few runs."""

    def solve() -> tuple[Tensor, Tensor]:
        saddle = fast_saddle(game, GAP)
        assert bool(saddle.converged.all())
        return saddle.policy, saddle.reward

    seconds, policy, reward = min((timed(solve) for _ in range(repeats)), key=lambda run: run[0])
    return Row(name, "fast saddle", len(game.lam), seconds, relative_gap(game, policy, reward))


def theirs(name: str, game: Game, count: int) -> Row:
    """One problem after another, compile time included, to the same relative gap."""

    def solve() -> tuple[Tensor, Tensor]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answers = [conic_saddle(game, index, tolerance=GAP) for index in range(count)]
        return torch.stack([a.policy for a in answers]), torch.stack([a.reward for a in answers])

    seconds, policy, reward = timed(solve)
    part = Game(
        game.reward_class, WinnerCounts(game.data.wins[:count]), game.lam[:count], game.rho,
        game.baseline,
    )  # fmt: skip
    return Row(name, "CVXPY + Clarabel", count, seconds, relative_gap(part, policy, reward))


def self_play(name: str, game: Game, rounds: int) -> Row:
    """SPAC-T on the batch: its gap falls like `1/√T`."""
    start = time.process_time()
    run = mirror_descent(game, rounds)
    seconds = time.process_time() - start
    gap = float((run.certificate.gap / value_scale(game, run.reward)).max())
    return Row(name, f"SPAC-T, T = {rounds}", len(game.lam), seconds, gap)


def show(rows: list[Row]) -> None:
    """A table with the ratio to the reference of the same problem."""
    print("  ".join(f"{c:>17}" for c in COLUMNS))
    for row in rows:
        peers = [r for r in rows if r.problem == row.problem and "CVXPY" in r.solver]
        ratio = f"{peers[0].milliseconds / row.milliseconds:.1f}" if peers else "-"
        cells = (
            row.problem,
            row.solver,
            row.problems,
            f"{row.milliseconds:.2f}",
            ratio,
            f"{row.gap:.1e}",
        )
        print("  ".join(f"{c:>17}" for c in cells), flush=True)


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conic", type=int, default=4, help="how many games CVXPY solves")
    parser.add_argument("--games", type=int, default=64, help="games in the linear batch")
    options = parser.parse_args()
    fast_saddle(tabular_game(1))  # the first call of anything pays for imports
    conic_saddle(tabular_game(1))
    linear, table = linear_game(options.games), tabular_game(100)
    single = linear_game(1)
    rows = [
        theirs("50x20, d=50", linear, options.conic),
        ours("50x20, d=50", linear),
        ours("50x20, d=50", single),
        theirs("10x10 table", table, options.conic),
        ours("10x10 table", table),
        self_play("10x10 table", table, 100),
    ]
    show(rows)


if __name__ == "__main__":
    main()
