"""SPAC-T run for `T` rounds on problems of three kinds, and what it certifies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from experiments.common.configuration import WHOLE, Comparisons, Count, Probability, Several
from experiments.engine.columns import real, whole
from experiments.engine.setting import at_coverage
from experiments.engine.study import Cell, Columns
from spac_theory import PROBLEMS, checks
from spac_theory.learning.lambda_rules import make_game
from spac_theory.saddle.game import certify
from spac_theory.saddle.mirror_descent import mirror_descent
from spac_theory.saddle.solve import solve_saddle

COLUMNS = {
    "iterations": whole("rounds", "T, the rounds of SPAC-T"),
    "gap_last": real(
        "reward", "certified duality gap of the last iterate; null for classes that are not convex"
    ),
    "gap_saddle": real("reward", "certified duality gap of the fast saddle"),
    "hedge": real("reward", "Hedge's bound on the gap of the mixture after T rounds"),
}


@dataclass(frozen=True)
class Settings:
    """The configuration `optimisation`."""

    problems: Several[str]
    iterations: Several[Annotated[int, WHOLE, Field(ge=1, le=10**6)]]
    n: Comparisons
    seeds: Count
    coverage: Probability
    store: str


def cells(settings: Settings) -> list[Cell]:
    """Every problem at every `T`; each problem is built once, so that a bad one is refused here."""
    for name in settings.problems:
        at_coverage(checks.choice("problems", name, PROBLEMS), settings.coverage)
    common = {name: getattr(settings, name) for name in ("n", "seeds", "coverage")}
    return [
        {"problem": name, "iterations": t, **common}
        for name in settings.problems
        for t in settings.iterations
    ]


def compute(cell: Cell) -> Columns:
    """Gap of the mixture and of the last iterate after `T` rounds, and of the saddle's own solver."""
    here = at_coverage(cell["problem"], cell["coverage"])
    data = here.data(cell["n"], cell["seeds"])
    game = make_game(here.view, data, data.n.double().sqrt())
    run = mirror_descent(game, cell["iterations"])
    saddle = solve_saddle(game)
    convex = game.reward_class.convex
    last = certify(game, run.last, run.reward).gap.tolist() if convex else None
    return {
        "gap": run.certificate.gap.tolist(),
        "gap_last": last,
        "hedge": run.bound,
        "gap_saddle": saddle.certificate.gap.tolist(),
        "suboptimality": here.suboptimality(run.mixture).tolist(),
        "lam": game.lam.tolist(),
        "iterations": cell["iterations"],
        "problem": cell["problem"],
        "n": cell["n"],
        "coverage": cell["coverage"],
    }
