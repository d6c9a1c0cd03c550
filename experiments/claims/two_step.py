"""Rows of the two-step problem in the one format of the results."""

from __future__ import annotations

import time
from dataclasses import asdict

import polars as pl

from spac_theory.instances.two_step import SimOprlTwoStep, trap_problem

NAME = "two_step"


def two_step_rows(
    algorithm: SimOprlTwoStep, coverage: float, offline: int, budget: int, seeds: int
) -> pl.DataFrame:
    """One row a learner, with the columns of a sweep: `dial` is `coverage`, `n` the transitions."""
    problem = trap_problem(coverage=coverage)
    begin = time.perf_counter()
    run = algorithm.run(problem, seeds, offline, budget)
    seconds = (time.perf_counter() - begin) / seeds
    fixed = {
        "problem": NAME,
        "behaviour": "trap",
        "dial": coverage,
        "n": offline,
        "algorithm": f"sim_oprl {algorithm.query}",
        "setting": str(asdict(algorithm)),
        "queries": float(run.queries),
        "oracle": True,
        "certified": "none",
        "status": "done",
        "seconds": seconds,
    }
    measured = {
        "seed": list(range(seeds)),
        "suboptimality": run.suboptimality.tolist(),
        "value": (problem.optimal_value - run.suboptimality).tolist(),
    }
    return pl.DataFrame({**{k: [v] * seeds for k, v in fixed.items()}, **measured})
