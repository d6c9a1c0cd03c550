"""The fast saddle against CVXPY with Clarabel, as a ratio in one run.

64 games at X = 50, A = 20, d = 50, n = 5000 over a ball, to a certified gap of 1e-6 · max(1, |G|).
The batch is timed from a cold start of the process (imports excluded on both sides), the conic
solver per game with its compile time. Run it as `python -m benchmarks.fast_saddle`.
"""

from __future__ import annotations

import argparse
import time
import warnings

import torch

from spac_theory import (
    Game,
    LinearClass,
    PreferenceModel,
    certify,
    fast_saddle,
    pair_law,
    sample_winner_counts,
    winner_law,
)
from spac_theory.keys import generator
from spac_theory.saddle.conic import conic_saddle

TOLERANCE = 1e-6


def games(seeds: int, contexts: int = 50, actions: int = 20, dimension: int = 50) -> Game:
    """`seeds` data sets of 5000 comparisons on one random linear problem, λ = √n."""
    rng = generator("benchmark", "fast_saddle")
    shape = (contexts, actions, dimension)
    features = torch.from_numpy(rng.standard_normal(shape) / dimension**0.5)
    theta = torch.from_numpy(rng.standard_normal(dimension))
    theta = theta / theta.norm()
    behaviour = torch.softmax(torch.from_numpy(2 * rng.standard_normal(shape[:2])), -1)
    rho = torch.full((contexts,), 1 / contexts, dtype=torch.float64)
    preference = PreferenceModel.from_reward(features @ theta)
    data = sample_winner_counts(
        winner_law(rho, pair_law(behaviour), preference), 5000, range(seeds), "benchmark"
    )
    lam = data.n.double().sqrt()
    return Game(LinearClass(features, norm_bound=2.0), data, lam, rho, behaviour)


def main() -> None:
    """Time both, check both by the same certificate, print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--games", type=int, default=64, help="size of the batch")
    parser.add_argument("--conic", type=int, default=4, help="how many of them CVXPY solves")
    arguments = parser.parse_args()
    game = games(arguments.games)
    start = time.perf_counter()
    saddle = fast_saddle(game, TOLERANCE)
    ours = (time.perf_counter() - start) / arguments.games
    scale = saddle.certificate.upper.abs().clamp_min(1)
    gap = float((saddle.certificate.gap / scale).max())
    theirs, difference, conic_gap = 0.0, 0.0, 0.0
    for index in range(arguments.conic):
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reference = conic_saddle(game, index, tolerance=TOLERANCE)
        theirs += (time.perf_counter() - start) / arguments.conic
        one = Game(
            game.reward_class,
            type(game.data)(game.data.wins[index : index + 1]),
            game.lam[index : index + 1],
            game.rho,
            game.baseline,
        )
        certificate = certify(one, reference.policy[None], reference.reward[None])
        conic_gap = max(conic_gap, float(certificate.gap[0] / scale[index]))
        middle = float(certificate.upper[0] - saddle.certificate.upper[index])
        difference = max(difference, abs(middle) / float(scale[index]))
    print(f"fast saddle        {1e3 * ours:8.1f} ms a game, certified gap {gap:.1e} (relative)")
    print(f"CVXPY + Clarabel   {1e3 * theirs:8.1f} ms a game, certified gap {conic_gap:.1e}")
    print(f"largest relative difference of values {difference:.1e}")
    print(f"ratio              {theirs / ours:8.1f}")


if __name__ == "__main__":
    main()
