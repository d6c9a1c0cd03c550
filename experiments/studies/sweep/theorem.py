"""The theorem's curve beside a sweep: (T1) at `λ*` for an exactly solved game."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import torch

from experiments.engine.specs import Sweep
from experiments.engine.units import all_units, setting
from spac_theory.bounds.upper import best_upper_bound, covering_complexity
from spac_theory.problems.density import ContinuousProblem


def theorem_curve(sweep: Sweep) -> pl.DataFrame:
    """`2√(κ C(π*) ε_n) + net` as column `theorem` by `dial` and `n`; `range` is `R`, above it is vacuous."""
    rows = []
    for unit in all_units(sweep, Path()):
        if unit.block == 0:
            place = setting(unit)
            cls = place.view.reward_class
            link, one = place.view.link, torch.tensor([unit.n])
            size = covering_complexity(cls, one, place.view.delta, link)
            c = place.coverage.single
            bound = float(best_upper_bound(cls.difference_bound, c, size, link))
            estimated = place.coverage.kind == "lower estimate"
            if estimated or isinstance(place.problem, ContinuousProblem):
                bound = (
                    math.nan
                )  # networks: C is only estimated; densities: (T1) judges the prompts
            row = {"dial": unit.dial, "n": unit.n, "theorem": bound}
            rows.append({**row, "range": cls.difference_bound})
    return pl.DataFrame(rows)
