"""Which baseline `ν`: it moves `C(π*)` and with it what the critic may claim.

python -m experiments.baseline
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
import polars as pl
from matplotlib.ticker import LogLocator, NullFormatter
from omegaconf import DictConfig
from rich.console import Console

from experiments.common.program import CONFIGURATION, run_program
from experiments.engine import study
from experiments.engine.trials import BASELINES, named_problem, place
from spac_theory import make_algorithm
from spac_theory.statistics import mean_interval


def compute(cell: study.Cell) -> study.Columns:
    """Suboptimality of SPAC with one baseline; the data are the same for all."""
    here = place(named_problem(cell["problem"]), cell["coverage"], baseline=cell["baseline"])
    data = here.data(cell["n"], cell["seeds"])
    fit = make_algorithm("spac", scale=cell["scale"]).fit(here.view, data)
    count = cell["seeds"]
    return {
        "suboptimality": here.suboptimality(fit.policy.probabilities()).tolist(),
        "n": [cell["n"]] * count,
        "coverage": [cell["coverage"]] * count,
        "concentrability": [here.coverage.single] * count,
        "algorithm": [cell["baseline"]] * count,
    }


def _finding(rows: pl.DataFrame) -> str:
    """In how many cells the loss is ordered as `C(π*)` is."""
    cells = [
        part.group_by("algorithm").agg(pl.col("suboptimality", "concentrability").mean())
        for _, part in rows.group_by("coverage", "n")
    ]
    agree = sum(
        c.sort("concentrability")["algorithm"].equals(c.sort("suboptimality")["algorithm"])
        for c in cells
    )
    return f"the further ν is from π* (larger C), the larger the loss: so in {agree} of {len(cells)} cells"


def draw(rows: pl.DataFrame) -> Any:
    """A panel a coverage, a curve a baseline."""
    shares = rows["coverage"].unique(maintain_order=True).to_list()
    drawn, axes = study.figure(1, len(shares), sharey=True)
    for axis, share in zip(axes[0], shares, strict=True):
        part = rows.filter(pl.col("coverage") == share)
        for index, name in enumerate(BASELINES):
            mine = part.filter(pl.col("algorithm") == name)
            mean = mine.group_by("n", maintain_order=True).agg(pl.col("suboptimality").mean())
            c = float(mine["concentrability"][0])
            axis.plot(
                mean["n"], mean["suboptimality"].clip(1e-5), color=study.COLOURS[index], ms=4,
                marker=study.MARKERS[index], ls=study.LINES[index], label=f"ν {name}, C = {c:.3g}",
            )  # fmt: skip
        axis.set(xscale="log", yscale="log", xlabel="comparisons n", title=f"coverage {share:g}")
        axis.legend(fontsize=7)
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())
    axes[0, 0].set_ylabel("mean suboptimality (reward)")
    drawn.suptitle(_finding(rows), fontsize=10)
    return drawn


def main_study(settings: dict[str, Any], output: Path) -> bool:
    """Run and report."""
    console = Console()
    keys = ("problem", "seeds", "scale")
    cells = [
        {"coverage": share, "n": n, "baseline": name, **{k: settings[k] for k in keys}}
        for share in settings["coverages"]
        for name in BASELINES
        for n in settings["n"]
    ]
    rows = study.run_cells("baseline", cells, compute, Path(settings["store"]), console)
    lines = []
    for (share, n, name), part in rows.group_by("coverage", "n", "algorithm", maintain_order=True):
        interval = mean_interval(part["suboptimality"], "baseline", str(share), str(n), str(name))
        mean = f"{interval.estimate:.4f} ± {interval.half_width:.4f}"
        c = float(part["concentrability"][0])
        lines.append([f"{share:g}", f"{n:,}", str(name), f"{c:.3g}", mean])
    header = ["coverage", "n", "ν", "C(π*)", "mean suboptimality"]
    drawn = {"baseline": draw(rows)}
    study.report("baseline", "The choice of ν", header, lines, rows, drawn, output, console)
    return True


@hydra.main(version_base="1.3", config_path=CONFIGURATION, config_name="baseline")
def main(config: DictConfig) -> None:
    """Entry point."""
    run_program(main_study, config)


if __name__ == "__main__":
    main()
