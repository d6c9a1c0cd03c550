"""How fast suboptimality falls: the rate of (T1) on instances that never get easy, and on one that does.

    python -m experiments.rates

SPAC at the theorem's `λ*` on the family of `spac_theory/instances/local_family.py`. With gaps of order
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

from experiments.common.program import CONFIGURATION, run_program
from experiments.engine import study
from spac_theory import checks
from spac_theory.bounds.upper import best_upper_bound, finite_complexity
from spac_theory.instances.local_family import LOSS, LocalInstance, local_instance
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
    """Suboptimality of SPAC at `λ*`, and the bounds on both sides.

    The lower bound speaks of the truth and of one rival, so the rival is run too, at the same `λ`: an
    algorithm that knew which of the two it faces would not be bound by it.
    """
    p, n, seeds = settings["coverage"], settings["n"], settings["seeds"]
    if settings["gap"] > 0:
        instance = LocalInstance(p, settings["gap"])
    else:
        instance = local_instance(p, n, settings["scale"])
    sizes = torch.full((seeds,), n)
    lam = instance.oracle_lambda(sizes, settings["delta"])
    saddle, loss = instance.solve(n, seeds, lam)
    lower, rival = instance.rival(n)
    _, rival_loss = rival.solve(n, seeds, lam)
    c, cls = instance.concentrability.value, instance.reward_class
    size = finite_complexity(len(cls.members), torch.tensor([n]), settings["delta"])
    bound = float(best_upper_bound(cls.difference_bound, c, size))
    return {
        "suboptimality": loss.tolist(),
        "rival_suboptimality": rival_loss.tolist(),
        "bound_upper": (bound + saddle.certificate.gap).tolist(),
        "bound_lower": [lower] * seeds,
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
    share of cells in which it is below `R`, `below` the largest lower bound over the worse of the two
    means that it speaks of (cells in which both means are 0 are left out).
    """

    slopes: dict[float, Interval]
    pooled: Interval
    collapse: float
    fixed: list[Interval]
    above: bool
    useful: float
    below: float


def matrix(rows: pl.DataFrame, column: str = "suboptimality") -> NDArray[np.float64]:
    """`(S, N)` of one coverage, sizes in order."""
    wide = rows.pivot(on="n", index="seed", values=column, sort_columns=False).sort("seed")
    return wide.select(sorted(wide.columns[1:], key=lambda name: int(str(name)))).to_numpy()


def means(rows: pl.DataFrame, delta: float = 0.1) -> pl.DataFrame:
    """A row a cell: means, the (1−δ)-quantile, bounds, `x = √(C/n)`, the worse of truth and rival."""
    keys = ["kind", "coverage", "concentrability", "n"]
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
    two = means(rows).filter(pl.col("worse") > 0)
    below = float((two["bound_lower"] / two["worse"]).max())  # type: ignore[arg-type]
    return Rates(slopes, together, collapse(local), bends, above, useful, below)


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


def _curves(axis: Any, local: pl.DataFrame, delta: float) -> None:
    """Against `n`: a curve a coverage, with the bounds that belong to it in its colour."""
    for index, (_, part) in enumerate(local.group_by("coverage", maintain_order=True)):
        colour, n = study.COLOURS[index], part["n"]
        label = f"{part['coverage'][0]:g} (C = {part['concentrability'][0]:.2g})"
        axis.plot(
            n, part["suboptimality"], color=colour, marker=study.MARKERS[index], ms=4, label=label
        )
        axis.plot(n, part["bound_upper"], color=colour, lw=0.9, ls="--")
        axis.plot(n, part["bound_lower"], color=colour, lw=0.9, ls=":")
    axis.axhline(LOSS, color="#7F7F7F", lw=0.8)
    axis.annotate("range R", (local["n"].max(), LOSS), va="bottom", ha="right", fontsize=8)
    axis.set(xlabel="comparisons n", ylabel="suboptimality (reward)")
    axis.set_title("mean falls like n^(−1/2) at every coverage\n"
                   f"(dashed: (T1), δ = {delta:g}; dotted: lower bound)")  # fmt: skip
    axis.set_yscale("log")
    axis.set_ylim(None, 40)
    axis.legend(title="coverage of π*", loc="upper right", ncol=2, fontsize=7, title_fontsize=7)


def _collapse(axis: Any, local: pl.DataFrame, r_squared: float) -> None:
    """Against `√(C/n)`: every coverage, between its two bounds."""
    for index, (_, part) in enumerate(local.group_by("coverage", maintain_order=True)):
        look = {"color": study.COLOURS[index], "marker": study.MARKERS[index], "ls": "", "ms": 5}
        axis.plot(part["x"], part["suboptimality"], **look)
        axis.plot(part["x"], part["worse"], **{**look, "ms": 9}, mfc="none")
        axis.plot(part["x"], part["bound_lower"], color=look["color"], marker="_", ls="", ms=7)
    order = local.sort("x")
    axis.plot(order["x"], order["bound_upper"], color="black", lw=1, ls="--", label="(T1)")
    axis.plot([], [], color="black", ls="", marker="o", ms=5, label="mean at r*")
    axis.plot(
        [], [], color="black", ls="", marker="o", ms=9, mfc="none", label="worse of r* and rival"
    )
    level = math.exp(float((local["suboptimality"] / local["x"]).log().mean()))  # type: ignore[arg-type]
    axis.plot(order["x"], level * order["x"], color="#7F7F7F", lw=1, label=f"{level:.2f} √(C/n)")
    axis.plot([], [], color="black", ls="", marker="_", ms=7, label="lower bound")
    axis.set(xlabel="√(C/n)", ylabel="suboptimality (reward)")
    axis.set_title(f"all coverages on one line (R² = {r_squared:.4f}),\nbetween the two bounds")
    axis.legend(loc="upper left", fontsize=7)


def _fixed(axis: Any, fixed: pl.DataFrame) -> None:
    """A gap that does not shrink, against `n`."""
    n, y = fixed["n"].to_numpy(), fixed["suboptimality"].to_numpy()
    shown, low = y > 0, max(y[y > 0].min() / 3, 1e-7)
    axis.plot(n, fixed["bound_upper"], color="black", lw=1, ls="--", label="(T1)")
    axis.plot(n, y[0] * np.sqrt(n[0] / n), color="#7F7F7F", lw=1, label="slope −1/2")
    axis.plot(n[shown], y[shown], color="#0072B2", marker="o", ms=4, label="mean at r*")
    worse = fixed["worse"].to_numpy()
    axis.plot(n[worse > 0], worse[worse > 0], color="#D55E00", marker="o", mfc="none", ms=8, ls="",
              label="worse of r* and rival")  # fmt: skip
    axis.plot(n, fixed["bound_lower"], color="black", lw=1, ls=":", label="lower bound")
    axis.set(xlabel="comparisons n", ylabel="suboptimality (reward)", ylim=(low, None))
    axis.set_title("a gap that stays is learned, in the end,\nfaster than any power of n")
    axis.legend(loc="lower left", fontsize=7)


def draw(rows: pl.DataFrame, delta: float) -> Any:
    """Three panels: against `n`, against `√(C/n)`, and the fixed instance."""
    table = means(rows, delta)
    local, fixed = (table.filter(pl.col("kind") == kind) for kind in (0, 1))
    drawn, axes = study.figure(1, 3 if len(fixed) else 2)
    _curves(axes[0, 0], local, delta)
    _collapse(axes[0, 1], local, collapse(rows.filter(pl.col("kind") == 0)))
    if len(fixed):
        _fixed(axes[0, 2], fixed)
    for axis in axes[0]:
        axis.set(xscale="log", yscale="log")
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
    console.print(
        f"lower bound over the worse of the two means: at most {found.below:.3f}", highlight=False
    )
    return True


def _text(interval: Interval) -> str:
    return f"{interval.estimate:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


@hydra.main(version_base="1.3", config_path=CONFIGURATION, config_name="rates")
def main(config: DictConfig) -> None:
    """Entry point."""
    run_program(main_study, config)


if __name__ == "__main__":
    main()
