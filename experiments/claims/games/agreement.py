"""Agreement of the fast saddle with the conic solver over many random games.

Run it as `python -m experiments.claims.games.agreement 240`.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from experiments.claims.games.instances import random_game
from spac_theory import fast_saddle
from spac_theory.saddle.reference.conic import conic_saddle


@dataclass(frozen=True)
class Comparison:
    """One game solved twice; differences and gaps are relative to `max(1, |G|)`."""

    index: int
    value: float
    difference: float
    gap: float
    outside: float
    converged: bool

    @property
    def agrees(self) -> bool:
        """Values agree to 1e-6, the certificate is below that and brackets the reference."""
        return self.converged and max(self.difference, self.gap, self.outside) <= 1e-6


def compare(index: int) -> Comparison:
    """Solve game `index` by the interior point and by CVXPY with Clarabel.

    `outside` is how far the conic value lies outside the certificate (0 when inside).
    """
    game = random_game(index)
    saddle = fast_saddle(game)
    certificate = saddle.certificate
    lower, upper = float(certificate.lower), float(certificate.upper)
    with warnings.catch_warnings():  # Clarabel falls a little short of 1e-10 on some games
        warnings.filterwarnings("ignore", "Solution may be inaccurate")
        reference = conic_saddle(game).value
    scale = max(1.0, abs(reference))
    value = float(game.value(saddle.policy, saddle.reward))
    return Comparison(
        index,
        reference,
        abs(value - reference) / scale,
        float(certificate.gap) / scale,
        max(lower - reference, reference - upper, 0.0) / scale,
        bool(saddle.converged.all()),
    )


def agreement(count: int, start: int = 0) -> Iterator[Comparison]:
    """Compare games `start`, …, `start + count − 1`, one at a time."""
    for index in range(start, start + count):
        yield compare(index)


def main(count: int) -> int:
    """Print the worst of `count` comparisons; 0 when all agree."""
    results = list(agreement(count))
    failed = [r for r in results if not r.agrees]
    print(f"games                         {len(results)}")
    print(f"largest relative difference   {max(r.difference for r in results):.2e}")
    print(f"largest relative gap          {max(r.gap for r in results):.2e}")
    print(f"smallest relative gap         {min(r.gap for r in results):.2e}")
    print(f"furthest outside certificate  {max(r.outside for r in results):.2e}")
    print(f"failed                        {len(failed)}")
    for result in failed:
        print(result)
    return len(failed) > 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
