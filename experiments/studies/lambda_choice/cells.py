"""SPAC at multiples of `√n`, and the theorem's `λ*` in the same unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from experiments.common.configuration import Comparisons, Count, Positive, Probability, Several
from experiments.engine.columns import real
from experiments.engine.setting import at_coverage
from experiments.engine.specs import build_problem, describe, resolve
from experiments.engine.study import Cell, Columns
from spac_theory import make_algorithm
from spac_theory.bounds.upper import covering_complexity, oracle_lambda

COLUMNS = {
    "scale": real("√n", "λ in units of √n"),
    "star_scale": real("√n", "the theorem's λ* in units of √n"),
}


@dataclass(frozen=True)
class Settings:
    """The configuration `lambda_choice`."""

    problem: dict[str, Any]
    scales: Several[Positive]
    n: Several[Comparisons]
    seeds: Count
    coverage: Probability
    delta: Probability
    store: str


def cells(settings: Settings) -> list[Cell]:
    """Every sample size at every scale; the problem is built once, so that a bad one is refused here."""
    problem = resolve("problem", "problem", settings.problem)
    place = at_coverage(build_problem(problem), settings.coverage, settings.delta)
    for n in settings.n:
        place.star_bound(n)
    common = {name: getattr(settings, name) for name in ("seeds", "coverage", "delta")}
    return [
        {"problem": problem, "n": n, "scale": scale, **common}
        for n in settings.n
        for scale in settings.scales
    ]


def compute(cell: Cell) -> Columns:
    """Suboptimality of SPAC at `λ = scale √n` and the theorem's `λ*` in the same unit."""
    here = at_coverage(build_problem(cell["problem"]), cell["coverage"], cell["delta"])
    data = here.data(cell["n"], cell["seeds"])
    fit = make_algorithm("spac", scale=cell["scale"]).fit(here.view, data)
    cls = here.view.reward_class
    link = here.view.link
    size = covering_complexity(cls, data.n, cell["delta"], link)
    star = oracle_lambda(cls.difference_bound, here.coverage.single, size, link)
    assert fit.lam is not None
    return {
        "suboptimality": here.suboptimality(fit.policy.probabilities()).tolist(),
        "lam": fit.lam.tolist(),
        "scale": float(cell["scale"]),
        "star_scale": (star / data.n.double().sqrt()).tolist(),
        "n": cell["n"],
        "coverage": cell["coverage"],
        "delta": cell["delta"],
        "problem": describe("problem", cell["problem"]),
    }
