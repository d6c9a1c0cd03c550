"""Slopes, collapse and bounds of the rates study."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from experiments.common.table import Table
from experiments.engine.study import Told
from experiments.studies.rates.cells import Settings
from spac_theory.instances.local_family import LOSS
from spac_theory.statistics import Interval, local_slopes, log_log_slope, quantile_interval


@dataclass(frozen=True)
class Rates:
    """What the study finds.

    `slopes` of each coverage, `pooled` slope of all seeds (each coverage scaled by `√C`), `collapse`
    the `R²` of `log mean = a + log √(C/n)` with its slope fixed at 1, `fixed` the local slopes
    at a fixed gap, `above` whether the bound is above the upper limit of the (1−δ)-quantile everywhere
    (None where seeds are too few for such a limit), `useful` the
    share of cells in which it is below `R`, `below` the largest lower bound over the worse of the two
    means that it speaks of (cells in which both means are 0 are left out).
    """

    slopes: dict[float, Interval]
    pooled: Interval
    collapse: float
    fixed: list[Interval]
    above: bool | None
    useful: float
    below: float


def matrix(rows: pl.DataFrame, column: str = "suboptimality") -> NDArray[np.float64]:
    """`(S, N)` of one coverage, sizes in order."""
    wide = rows.pivot(on="n", index="seed", values=column, sort_columns=False).sort("seed")
    return wide.select(sorted(wide.columns[1:], key=lambda name: int(str(name)))).to_numpy()


def means(rows: pl.DataFrame, delta: float = 0.1) -> pl.DataFrame:
    """A row a cell: means, the (1−δ)-quantile, bounds, `x = √(C/n)`, the worse of truth and rival."""
    keys = ["fixed_gap", "coverage", "concentrability", "n"]
    found = rows.group_by(keys, maintain_order=True).agg(
        pl.col("suboptimality", "rival_suboptimality", "bound_upper", "bound_lower").mean(),
        pl.col("suboptimality").quantile(1 - delta).alias("quantile"),
    )
    return found.with_columns(
        (pl.col("concentrability") / pl.col("n")).sqrt().alias("x"),
        pl.max_horizontal("suboptimality", "rival_suboptimality").alias("worse"),
    )


def collapse(rows: pl.DataFrame) -> float:
    """`R²` of the one-parameter model `log mean = a + ½ log(C/n)` over all cells."""
    keys = ["coverage", "n", "concentrability"]
    means = rows.group_by(keys).agg(pl.col("suboptimality").mean())
    y = np.log(means["suboptimality"].to_numpy())
    x = 0.5 * np.log(means["concentrability"].to_numpy() / means["n"].to_numpy())
    residual = (y - x) - (y - x).mean()
    return float(1 - (residual**2).sum() / ((y - y.mean()) ** 2).sum())


def _above(cells: list[pl.DataFrame], delta: float) -> bool | None:
    """Whether (T1) lies above the upper limit of the quantile in each cell; None without such limits."""
    limits = [quantile_interval(part["suboptimality"], 1 - delta).high for part in cells]
    if any(math.isinf(limit) for limit in limits):
        return None
    bounds = [float(part["bound_upper"].min()) for part in cells]  # type: ignore[arg-type]
    return all(bound >= limit for bound, limit in zip(bounds, limits, strict=True))


def analyse(rows: pl.DataFrame, delta: float) -> Rates:
    """Slopes, collapse and bounds of the rows of :func:`compute`."""
    local, fixed = rows.filter(~pl.col("fixed_gap")), rows.filter(pl.col("fixed_gap"))
    slopes, pooled = {}, []
    for (p,), part in local.group_by("coverage", maintain_order=True):
        values = matrix(part)
        sizes = sorted(part["n"].unique().to_list())
        slopes[float(p)] = log_log_slope(sizes, values, "rates", str(p))
        pooled.append(values / math.sqrt(part["concentrability"][0]))
    sizes = sorted(local["n"].unique().to_list())
    together = log_log_slope(sizes, np.mean(pooled, axis=0), "rates", "pooled")
    bends: list[Interval] = []
    if len(fixed):
        values, ns = matrix(fixed), sorted(fixed["n"].unique().to_list())
        alive = (values > 0).mean(0) > 0.05  # a mean carried by a few seeds has no slope to show
        kept = [n for n, keep in zip(ns, alive, strict=True) if keep]
        bends = local_slopes(kept, values[:, alive], "fixed")
    cells = [part for _, part in local.group_by(["coverage", "n"])]
    above = _above(cells, delta)
    useful = float(
        np.mean([float(part["bound_upper"].max()) < LOSS for part in cells])  # type: ignore[arg-type]
    )
    two = means(rows).filter(pl.col("worse") > 0)
    below = float((two["bound_lower"] / two["worse"]).max())  # type: ignore[arg-type]
    return Rates(slopes, together, collapse(local), bends, above, useful, below)


def report(rows: pl.DataFrame, settings: Settings) -> Told:
    """A slope a coverage, and what else was found."""
    found = analyse(rows, settings.delta)
    lines = [[f"{p:g}", (1 - p) / (2 * p), _text(slope)] for p, slope in found.slopes.items()]
    lines.append(["all", "", _text(found.pooled)])
    title = f"Slope of log suboptimality in log n; collapse R² = {found.collapse:.4f}"
    verdict = {True: "yes", False: "no", None: _untold(settings)}[found.above]
    remarks = [
        f"local slopes at a fixed gap: {', '.join(f'{s.estimate:.2f}' for s in found.fixed) or 'none'}",
        f"(T1) above the upper limit of the quantile everywhere: {verdict}",
        f"lower bound over the worse of the two means: at most {found.below:.3f}",
    ]
    return Told(Table(title, ["coverage", "C(π*)", "slope [95 %]"], lines), tuple(remarks))


def _untold(settings: Settings) -> str:
    """How many seeds the upper limit of the quantile asks for."""
    need = math.ceil(math.log(0.025) / math.log1p(-settings.delta))
    return f"not told, {settings.seeds} seeds give no such limit, {need} would"


def _text(interval: Interval) -> str:
    return f"{interval.estimate:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
