"""The exact game is exact: two solvers by different authors agree, and self-play keeps its bound."""

from __future__ import annotations

from experiments.claims import CLAIMS, Outcome


@CLAIMS.register("solvers_agree")
def solvers_agree(size: str) -> Outcome:
    """The fast saddle and a conic solver agree.

    On random games (X ≤ 20, A ≤ 8, d ≤ 12, n from 10 to 1e6; tables and features, ball, range and
    both) the values agree to 1e-6 · max(1, |G|) and every certificate is below that.
    """
    from experiments.claims.games.agreement import agreement  # the random games live with the tests

    results = list(agreement(24 if size == "small" else 240))
    difference = max(result.difference for result in results)
    gap = max(result.gap for result in results)
    return Outcome(
        all(result.agrees for result in results),
        f"{len(results)} games: largest relative difference {difference:.1e}, gap {gap:.1e}",
    )


@CLAIMS.register("self_play_keeps_its_bound")
def self_play_keeps_its_bound(size: str) -> Outcome:
    """The certified gap of SPAC-T stays under R √(log A / (2T)) for T = 10, 100 and 1000."""
    from experiments.claims.games.instances import random_game
    from spac_theory import mirror_descent

    rounds, games = ((10, 100), 4) if size == "small" else ((10, 100, 1000), 6)
    shares = {
        t: max(
            float((run.certificate.gap / run.bound).max())
            for run in (
                mirror_descent(random_game(i, seeds=4, max_contexts=6), t) for i in range(games)
            )
        )
        for t in rounds
    }
    text = ", ".join(f"T = {t}: {share:.2f}" for t, share in shares.items())
    return Outcome(max(shares.values()) <= 1, f"largest gap / bound over {games} × 4 games: {text}")
