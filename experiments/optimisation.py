"""SPAC-T's duality gap against its number of rounds, beside Hedge's bound.

python -m experiments.optimisation
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
import polars as pl
from omegaconf import DictConfig
from rich.console import Console

from experiments.common.program import CONFIGURATION, run_program
from experiments.engine import study
from experiments.engine.trials import place
from spac_theory.learning.lambda_rules import make_game
from spac_theory.saddle.game import certify
from spac_theory.saddle.mirror_descent import mirror_descent
from spac_theory.saddle.solve import solve_saddle


def compute(cell: study.Cell) -> study.Columns:
    """Gap of the mixture and of the last iterate after `T` rounds, and of the saddle's own solver."""
    here = place(cell["problem"], cell["coverage"])
    data = here.data(cell["n"], cell["seeds"])
    game = make_game(here.view, data, data.n.double().sqrt())
    run = mirror_descent(game, cell["rounds"])
    saddle = solve_saddle(game)
    if game.reward_class.convex:
        last = certify(game, run.last, run.reward).gap.tolist()
    else:
        last = [None] * cell["seeds"]
    return {
        "gap": run.certificate.gap.tolist(),
        "gap_last": last,
        "hedge": [run.bound] * cell["seeds"],
        "gap_saddle": saddle.certificate.gap.tolist(),
        "suboptimality": here.suboptimality(run.mixture).tolist(),
        "rounds": [cell["rounds"]] * cell["seeds"],
        "problem": [cell["problem"]] * cell["seeds"],
    }


def draw(rows: pl.DataFrame) -> Any:
    """A panel a problem: gaps against `T` with the Hedge line; the interior point's gap is in the title."""
    names = rows["problem"].unique(maintain_order=True).to_list()
    drawn, axes = study.figure(1, len(names), sharey=True)
    for axis, name in zip(axes[0], names, strict=True):
        part = rows.filter(pl.col("problem") == name)
        worst = part.group_by("rounds").agg(pl.col("^gap.*|hedge$").max()).sort("rounds")
        t, share = worst["rounds"], float((part["gap"] / part["hedge"]).max())  # type: ignore[arg-type]
        axis.plot(t, worst["hedge"], color="#7F7F7F", label="Hedge's bound R√(log A/2T)")
        axis.plot(t, worst["gap"], color="black", marker="o", ms=4, label="mixture of the rounds")
        if "gap_last" in worst.columns and worst["gap_last"].null_count() < len(worst):
            look = {"color": "#D55E00", "marker": "v", "ms": 4, "ls": "--"}
            axis.plot(t, worst["gap_last"], **look, label="last iterate")
        exact = float(part["gap_saddle"].max())  # type: ignore[arg-type]
        axis.set(xscale="log", yscale="log", xlabel="rounds T")
        axis.set_title(
            f"{name}: at most {share:.2f} of the bound\n(interior point: gap {exact:.0e})"
        )
        axis.legend(fontsize=7, loc="lower left")
    axes[0, 0].set_ylabel("largest certified gap (reward)")
    return drawn


def main_study(settings: dict[str, Any], output: Path) -> bool:
    """Run and report."""
    console = Console()
    keys = ("n", "seeds", "coverage")
    cells = [
        {"problem": name, "rounds": t, **{k: settings[k] for k in keys}}
        for name in settings["problems"]
        for t in settings["rounds"]
    ]
    rows = study.run_cells("optimisation", cells, compute, Path(settings["store"]), console)
    summary = rows.group_by("problem", "rounds", maintain_order=True).agg(
        pl.col("gap").max(), pl.col("hedge").max(), pl.col("suboptimality").mean()
    )
    lines = [
        [r["problem"], str(int(r["rounds"])), f"{r['gap']:.2e}", f"{r['hedge']:.2e}",
         f"{r['gap'] / r['hedge']:.2f}", f"{r['suboptimality']:.4f}"]
        for r in summary.iter_rows(named=True)
    ]  # fmt: skip
    header = ["problem", "T", "largest gap", "Hedge", "ratio", "mean suboptimality"]
    drawn = {"optimisation": draw(rows)}
    study.report("optimisation", "Gap of SPAC-T", header, lines, rows, drawn, output, console)
    return True


@hydra.main(version_base="1.3", config_path=CONFIGURATION, config_name="optimisation")
def main(config: DictConfig) -> None:
    """Entry point."""
    run_program(main_study, config)


if __name__ == "__main__":
    main()
