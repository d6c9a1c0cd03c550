"""Rows of the two-step problem in the one format of the results."""

from __future__ import annotations

import json
import time
from dataclasses import asdict

import polars as pl

from experiments.engine.columns import whole
from spac_theory.instances.two_step import SimOprlTwoStep, trap_problem

NAME = "two_step"
COLUMNS = {"transitions": whole("transitions", "offline transitions of a data set, without labels")}


def two_step_rows(
    algorithm: SimOprlTwoStep, coverage: float, offline: int, budget: int, seeds: int
) -> pl.DataFrame:
    """One row a learner: common columns of the results, and `transitions`, explained in `COLUMNS`."""
    problem = trap_problem(coverage=coverage)
    begin = time.perf_counter()
    run = algorithm.run(problem, seeds, offline, budget)
    seconds = (time.perf_counter() - begin) / seeds
    fixed = {
        "problem": NAME,
        "behaviour": "trap",
        "coverage": coverage,
        "transitions": offline,
        "algorithm": f"sim_oprl {algorithm.query}",
        "method": "sim_oprl",
        "options": json.dumps(asdict(algorithm), sort_keys=True),
        "queries": float(run.queries),
        "oracle": True,
        "gap_kind": "none",
        "status": "done",
        "seconds": seconds,
    }
    measured = {
        "seed": list(range(seeds)),
        "suboptimality": run.suboptimality.tolist(),
        "value": (problem.optimal_value - run.suboptimality).tolist(),
    }
    return pl.DataFrame({**{k: [v] * seeds for k, v in fixed.items()}, **measured})
