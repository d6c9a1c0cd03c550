"""How fast suboptimality falls: the rate of (T1) on instances that never get easy, and on one that does.

    python -m experiments.rates

SPAC at the theorem's `λ*` on the family of `spac_theory/local_family.py`. With gaps of order
`√(C/n)` the log-log slope is −1/2 and the curves of all coverages are one curve of `√(C/n)`. With a
fixed gap the signs become obvious: the local slope is steeper than any power.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from rich.console import Console

from experiments import study
from experiments.program import CONFIGURATION, run_program
from spac_theory import checks
from spac_theory.bounds import best_upper_bound, finite_complexity
from spac_theory.local_family import LOSS, LocalInstance, local_instance
from spac_theory.statistics import Interval, local_slopes, log_log_slope, quantile_interval

COVERAGES = (0.02, 0.05, 0.1, 0.2, 0.4)
SIZES = (10**4, 10**5, 10**6, 10**7, 10**8, 10**9)
FIXED_SIZES = tuple(round(10 ** (k / 4)) for k in range(8, 21))
TOLERANCE = 1e-10


def cell(coverage: float, n: int, seeds: int, delta: float, scale: float, gap: float) -> study.Cell:
    """Settings of one cell; a positive `gap` fixes it, else it is `scale · √(C/n)`."""
    settings = {"coverage": coverage, "n": n, "seeds": seeds, "delta": delta}
    return {**settings, "scale": scale, "gap": gap}


def compute(settings: study.Cell) -> study.Columns:
    """Suboptimality of SPAC at `λ*` on every data set, and the bound."""
    p, n, seeds = settings["coverage"], settings["n"], settings["seeds"]
    if settings["gap"] > 0:
        instance = LocalInstance(p, settings["gap"])
    else:
        instance = local_instance(p, n, settings["scale"])
    saddle, loss = instance.solve(n, seeds, settings["delta"])
    c, cls = instance.concentrability.value, instance.reward_class
    size = finite_complexity(len(cls.members), torch.tensor([n]), settings["delta"])
    bound = float(best_upper_bound(cls.difference_bound, c, size))
    return {
        "suboptimality": loss.tolist(),
        "bound_upper": (bound + saddle.certificate.gap).tolist(),
        "gap": saddle.certificate.gap.tolist(),
        "coverage": [p] * seeds,
        "n": [n] * seeds,
        "concentrability": [c] * seeds,
        "true_gap": [instance.gap] * seeds,
        "kind": [float(settings["gap"] > 0)] * seeds,
    }


@dataclass(frozen=True)
class Rates:
    """What the study finds.

    `slopes` of each coverage, `pooled` slope of all seeds (each coverage scaled by `√C`), `collapse`
    the `R²` of `log mean = a + log √(C/n)` with its slope fixed at 1, `fixed` the local slopes
    at a fixed gap, `above` whether the bound is above the (1−δ)-quantile everywhere, `useful` the
    share of cells in which it is below `R`.
    """

    slopes: dict[float, Interval]
    pooled: Interval
    collapse: float
    fixed: list[Interval]
    above: bool
    useful: float


def matrix(rows: pl.DataFrame, column: str = "suboptimality") -> NDArray[np.float64]:
    """`(S, N)` of one coverage, sizes in order."""
    wide = rows.pivot(on="n", index="seed", values=column, sort_columns=False).sort("seed")
    return wide.select(sorted(wide.columns[1:], key=lambda name: int(str(name)))).to_numpy()


def collapse(rows: pl.DataFrame) -> float:
    """`R²` of the one-parameter model `log mean = a + ½ log(C/n)` over all cells."""
    keys = ["coverage", "n", "concentrability"]
    means = rows.group_by(keys).agg(pl.col("suboptimality").mean())
    y = np.log(means["suboptimality"].to_numpy())
    x = 0.5 * np.log(means["concentrability"].to_numpy() / means["n"].to_numpy())
    residual = (y - x) - (y - x).mean()
    return float(1 - (residual**2).sum() / ((y - y.mean()) ** 2).sum())


def analyse(rows: pl.DataFrame, delta: float) -> Rates:
    """Slopes, collapse and bounds of the rows of :func:`compute`."""
    local, fixed = rows.filter(pl.col("kind") == 0), rows.filter(pl.col("kind") == 1)
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
    above = all(
        part["bound_upper"].min() >= quantile_interval(part["suboptimality"], 1 - delta).high  # type: ignore[operator]
        for part in cells
    )
    useful = float(
        np.mean([float(part["bound_upper"].max()) < LOSS for part in cells])  # type: ignore[arg-type]
    )
    return Rates(slopes, together, collapse(local), bends, above, useful)


def cells_of(
    coverages: tuple[float, ...],
    sizes: tuple[int, ...],
    seeds: int,
    delta: float,
    scale: float,
    fixed_gap: float,
    fixed_coverage: float,
    fixed_sizes: tuple[int, ...],
) -> list[study.Cell]:
    """All cells of the study."""
    moving = [cell(p, n, seeds, delta, scale, 0.0) for p in coverages for n in sizes]
    still = [cell(fixed_coverage, n, seeds, delta, scale, fixed_gap) for n in fixed_sizes]
    return moving + (still if fixed_gap > 0 else [])


def draw(rows: pl.DataFrame, delta: float) -> Any:
    """Three panels: against `n`, against `√(C/n)`, and the fixed instance."""
    drawn, axes = study.figure(1, 3)
    left, middle, right = axes[0]
    local, fixed = rows.filter(pl.col("kind") == 0), rows.filter(pl.col("kind") == 1)
    for index, ((p,), part) in enumerate(local.group_by("coverage", maintain_order=True)):
        style = {
            "color": study.COLOURS[index],
            "marker": study.MARKERS[index],
            "linestyle": study.LINES[index],
        }
        mean = part.group_by("n", maintain_order=True).agg(
            pl.col("suboptimality").mean(),
            pl.col("suboptimality").quantile(1 - delta).alias("quantile"),
            pl.col("bound_upper").mean(),
        )
        n = mean["n"].to_numpy()
        c = float(part["concentrability"][0])
        left.plot(n, mean["suboptimality"], label=f"coverage {p:g}", markersize=4, **style)
        left.plot(n, mean["bound_upper"], color=style["color"], linewidth=0.8, alpha=0.7)
        middle.plot(
            np.sqrt(c / n),
            mean["suboptimality"],
            ls="",
            label=f"C = {c:.2g}",
            markersize=5,
            color=style["color"],
            marker=style["marker"],
        )
    left.axhline(LOSS, color="#7F7F7F", linewidth=0.8)
    left.annotate("R", (local["n"].max(), LOSS), va="bottom", ha="right", fontsize=8)
    left.set(xscale="log", yscale="log", xlabel="comparisons n", ylabel="suboptimality")
    left.set_title(f"gaps of order √(C/n): mean, and (T1) at δ = {delta:g} (thin)", fontsize=9)
    span = np.array(middle.get_xlim())
    x = np.sqrt(local["concentrability"].to_numpy() / local["n"].to_numpy())
    level = math.exp(
        np.mean(
            np.log(
                local.group_by("coverage", "n")
                .agg(
                    pl.col("suboptimality").mean(),
                    (pl.col("concentrability").first() / pl.col("n").first()).sqrt().alias("x"),
                )
                .select(pl.col("suboptimality") / pl.col("x"))
                .to_series()
                .to_numpy()
            )
        )
    )
    span = np.array([x.min(), x.max()])
    middle.plot(span, level * span, color="#7F7F7F", linewidth=1, label=f"{level:.2f} √(C/n)")
    middle.set(xscale="log", yscale="log", xlabel="√(C/n)", ylabel="mean suboptimality")
    middle.set_title("all coverages on one line", fontsize=9)
    if len(fixed):
        mean = fixed.group_by("n", maintain_order=True).agg(
            pl.col("suboptimality").mean(), pl.col("bound_upper").mean()
        )
        n, y = mean["n"].to_numpy(), mean["suboptimality"].to_numpy()
        shown = y > 0
        right.plot(n[shown], y[shown], color="black", marker="o", markersize=4, label="mean")
        right.plot(n, mean["bound_upper"], color="black", linewidth=0.8, label="(T1)")
        right.plot(n, y[0] * np.sqrt(n[0] / n), color="#7F7F7F", ls="--", label="slope −1/2")
        right.set_ylim(max(y[shown].min() / 3, 1e-7), None)
    right.set(xscale="log", yscale="log", xlabel="comparisons n", ylabel="suboptimality")
    right.set_title("a fixed gap: faster than any power of n", fontsize=9)
    for axis in (left, middle, right):
        axis.legend(fontsize=7, frameon=False)
    return drawn


def main_study(settings: dict[str, Any], output: Path) -> bool:
    """Run, analyse, report."""
    console = Console()
    delta = checks.number("delta", settings["delta"], low=0, high=1, open_low=True, open_high=True)
    fixed = settings["fixed"]
    cells = cells_of(
        tuple(settings["coverages"]),
        tuple(settings["n"]),
        checks.integer("seeds", settings["seeds"], low=30),
        delta,
        checks.number("scale", settings["scale"], low=0, open_low=True),
        checks.number("fixed.gap", fixed["gap"], low=0),
        fixed["coverage"],
        tuple(fixed["n"]),
    )
    rows = study.run_cells("rates", cells, compute, Path(settings["store"]), console)
    found = analyse(rows, delta)
    lines = [
        [f"{p:g}", f"{(1 - p) / (2 * p):.3g}", _text(slope)] for p, slope in found.slopes.items()
    ]
    lines.append(["all", "", _text(found.pooled)])
    title = f"Slope of log suboptimality in log n; collapse R² = {found.collapse:.4f}"
    drawn = {"rates": draw(rows, delta)}
    header = ["coverage", "C(π*)", "slope [95 %]"]
    study.report("rates", title, header, lines, rows, drawn, output, console)
    bends = ", ".join(f"{s.estimate:.2f}" for s in found.fixed)
    console.print(f"local slopes at a fixed gap: {bends}", highlight=False)
    console.print(f"(T1) above the quantile everywhere: {found.above}", highlight=False)
    return True


def _text(interval: Interval) -> str:
    return f"{interval.estimate:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


@hydra.main(version_base="1.3", config_path=CONFIGURATION, config_name="rates")
def main(config: DictConfig) -> None:
    """Entry point."""
    run_program(main_study, config)


if __name__ == "__main__":
    main()
