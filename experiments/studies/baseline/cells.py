"""SPAC with each baseline `ν` on the same data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from experiments.common.configuration import Comparisons, Count, Positive, Probability, Several
from experiments.engine.columns import Column
from experiments.engine.setting import BASELINES, at_coverage
from experiments.engine.specs import build_problem, describe, resolve
from experiments.engine.study import Cell, Columns
from spac_theory import make_algorithm

COLUMNS: dict[str, Column] = {}  # the common ones are enough


@dataclass(frozen=True)
class Settings:
    """The configuration `baseline`."""

    problem: dict[str, Any]
    coverages: Several[Probability]
    n: Several[Comparisons]
    seeds: Count
    scale: Positive
    store: str


def cells(settings: Settings) -> list[Cell]:
    """Every coverage, baseline and sample size; the problem is built, so that a bad one is refused here."""
    problem = resolve("problem", "problem", settings.problem)
    for share in settings.coverages:
        at_coverage(build_problem(problem), share)
    return [
        {"coverage": share, "n": n, "baseline": name, "problem": problem,
         "seeds": settings.seeds, "scale": settings.scale}
        for share in settings.coverages
        for name in BASELINES
        for n in settings.n
    ]  # fmt: skip


def compute(cell: Cell) -> Columns:
    """Suboptimality of SPAC with one baseline; the data are the same for all."""
    here = at_coverage(build_problem(cell["problem"]), cell["coverage"], baseline=cell["baseline"])
    data = here.data(cell["n"], cell["seeds"])
    fit = make_algorithm("spac", scale=cell["scale"]).fit(here.view, data)
    assert fit.lam is not None
    return {
        "suboptimality": here.suboptimality(fit.policy.probabilities()).tolist(),
        "lam": fit.lam.tolist(),
        "n": cell["n"],
        "coverage": cell["coverage"],
        "concentrability": here.coverage.single,
        "baseline": cell["baseline"],
        "problem": describe("problem", cell["problem"]),
    }
