"""Suboptimality against `λ`, and where the theorem's `λ*` falls.

python -m experiments.lambda_choice
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
import numpy as np
import polars as pl
from omegaconf import DictConfig
from rich.console import Console

from experiments.common.program import CONFIGURATION, run_program
from experiments.engine import study
from experiments.engine.trials import named_problem, place
from spac_theory import make_algorithm
from spac_theory.bounds.upper import covering_complexity, oracle_lambda
from spac_theory.statistics import mean_interval


def compute(cell: study.Cell) -> study.Columns:
    """Suboptimality of SPAC at `λ = scale √n` and the theorem's `λ*` in the same unit."""
    here = place(named_problem(cell["problem"]), cell["coverage"], cell["delta"])
    data = here.data(cell["n"], cell["seeds"])
    fit = make_algorithm("spac", scale=cell["scale"]).fit(here.view, data)
    cls = here.view.reward_class
    link = here.view.link
    size = covering_complexity(cls, data.n, cell["delta"], link)
    star = oracle_lambda(cls.difference_bound, here.coverage.single, size, link)
    count = cell["seeds"]
    return {
        "suboptimality": here.suboptimality(fit.policy.probabilities()).tolist(),
        "scale": [float(cell["scale"])] * count,
        "theorem_scale": (star / data.n.double().sqrt()).tolist(),
        "n": [cell["n"]] * count,
    }


def _span(values: list[float]) -> str:
    """`low–high` of some numbers, or the one they all are."""
    ends = [f"{value:.2g}" for value in (min(values), max(values))]
    return ends[0] if ends[0] == ends[1] else "–".join(ends)


def draw(rows: pl.DataFrame) -> Any:
    """A curve a sample size; a star marks where the theorem's `λ*` falls."""
    drawn, axes = study.figure(1, 1)
    axis, low = axes[0, 0], 1e-5
    best, stars = [], []
    for index, ((n,), part) in enumerate(rows.group_by("n", maintain_order=True)):
        mean = part.group_by("scale", maintain_order=True).agg(pl.col("suboptimality").mean())
        x, y = mean["scale"].to_numpy(), mean["suboptimality"].clip(low).to_numpy()
        look = {"color": study.COLOURS[index], "ls": study.LINES[index]}
        axis.plot(x, y, **look, ms=4, marker=study.MARKERS[index], label=f"n = {n:,}")
        star = float(part["theorem_scale"][0])
        best.append(float(x[y.argmin()]))
        stars.append(star)
        at = float(np.exp(np.interp(np.log(star), np.log(x), np.log(y))))
        axis.plot(star, at, marker="*", ms=14, color=look["color"], mec="white", zorder=5)
    axis.plot([], [], ls="", marker="*", ms=12, color="#555555", label="the theorem's λ*")
    axis.set(xscale="log", yscale="log", xlabel="λ / √n", ylabel="mean suboptimality (reward)")
    axis.set_title(
        f"best at λ = {_span(best)} √n;\nthe theorem's λ* is {_span(stars)} √n (floor {low:g})"
    )
    axis.legend()
    return drawn


def main_study(settings: dict[str, Any], output: Path) -> bool:
    """Run and report."""
    console = Console()
    keys = ("problem", "seeds", "coverage", "delta")
    cells = [
        {"n": n, "scale": scale, **{k: settings[k] for k in keys}}
        for n in settings["n"]
        for scale in settings["scales"]
    ]
    rows = study.run_cells("lambda", cells, compute, Path(settings["store"]), console)
    lines = []
    for (n, scale), part in rows.group_by("n", "scale", maintain_order=True):
        interval = mean_interval(part["suboptimality"], "lambda", str(n), str(scale))
        mean = f"{interval.estimate:.4f} ± {interval.half_width:.4f}"
        lines.append([f"{n:,}", f"{scale:g}", mean, f"{float(part['theorem_scale'][0]):.3g}"])
    header = ["n", "λ/√n", "mean suboptimality", "λ*/√n"]
    drawn = {"lambda_choice": draw(rows)}
    study.report("lambda", "Suboptimality against λ", header, lines, rows, drawn, output, console)
    return True


@hydra.main(version_base="1.3", config_path=CONFIGURATION, config_name="lambda_choice")
def main(config: DictConfig) -> None:
    """Entry point."""
    run_program(main_study, config)


if __name__ == "__main__":
    main()
