"""Means against `λ`."""

from __future__ import annotations

import polars as pl

from experiments.common.table import Table, plus_minus
from experiments.engine.study import Told
from experiments.studies.lambda_choice.cells import Settings
from spac_theory.statistics import mean_interval


def report(rows: pl.DataFrame, settings: Settings) -> Told:
    """A line a sample size and scale."""
    lines = []
    for (n, scale), part in rows.group_by("n", "scale", maintain_order=True):
        interval = mean_interval(part["suboptimality"], "lambda", str(n), str(scale))
        mean = plus_minus(interval.estimate, interval.half_width)
        lines.append([f"{n:,}", f"{scale:g}", mean, float(part["star_scale"][0])])
    header = ["n", "λ/√n", "mean suboptimality", "λ*/√n"]
    return Told(Table("Suboptimality against λ", header, lines, left=0))
