"""What SPAC loses when the class misses the true reward by a dial, and what the theory allows.

    python -m experiments.misspecification

`r* = φθ* + ε g` with `g` a fixed pattern outside the span of the features and `sup |Δ_g| = 1`. The
closest member is within `ε`; the bound is (T1) around it plus the misspecification term.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import hydra
import polars as pl
import torch
from omegaconf import DictConfig
from rich.console import Console
from torch import Tensor

from experiments import study
from experiments.program import CONFIGURATION, run_program
from experiments.trials import Place, baseline_policy
from spac_theory import LearnerView, make_algorithm, make_behaviour, make_problem, pair_law
from spac_theory.behaviours import Coverage
from spac_theory.bounds import covering_complexity, misspecification, upper_bound
from spac_theory.concentrability import AllPolicy
from spac_theory.concentrability_classes import Design, concentrability_of
from spac_theory.problems import Problem
from spac_theory.rewards.linear import LinearClass


def outside(features: Tensor) -> Tensor:
    """A pattern `g (X, A)` orthogonal to the span of features and shifts, with `sup |Δ_g| = 1`."""
    contexts, actions, _ = features.shape
    shifts = torch.eye(contexts, dtype=torch.float64).repeat_interleave(actions, 0)
    basis = torch.cat([features.flatten(0, 1), shifts], -1)
    random = torch.randn(
        contexts * actions, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    fitted = basis @ torch.linalg.lstsq(basis, random[:, None], driver="gelsd").solution
    g = (random - fitted.squeeze(-1)).reshape(contexts, actions)
    return g / (g.amax(-1) - g.amin(-1)).max()


class Misspecified(Problem):
    """A problem whose class does not hold its reward; it says so by its type."""

    def __post_init__(self) -> None:
        """Nothing to check: that is the point."""


def misspecified_place(dial: float, share: float, delta: float) -> Place:
    """The `linear` problem with its truth moved out of the class by `dial`; `C` is the class's own."""
    linear = make_problem("linear")
    bandit = linear.bandit
    moved = replace(
        bandit,
        reward=bandit.reward + dial * outside(bandit.features),
        name=f"{bandit.name}-missed-{dial:g}",
    )
    problem = Misspecified(moved, linear.reward_class, linear.profile)
    mu = make_behaviour("coverage").policy(problem, share)
    nu = baseline_policy("behaviour", problem, mu)
    view = LearnerView(linear.reward_class, moved.rho, mu, nu, delta=delta)
    design = Design(bandit.reward, moved.rho, pair_law(mu), nu)
    c = concentrability_of(linear.reward_class, design, moved.optimal_policy)
    return Place(problem, mu, view, Coverage(c.value, AllPolicy(0.0, float("inf")), c.kind))


def compute(cell: study.Cell) -> study.Columns:
    """Suboptimality of SPAC at `λ = scale √n`, the bound with its term, and the term alone."""
    here = misspecified_place(cell["dial"], cell["coverage"], cell["delta"])
    data = here.data(cell["n"], cell["seeds"])
    fit = make_algorithm("spac", scale=cell["scale"]).fit(here.view, data)
    cls = here.view.reward_class
    assert isinstance(cls, LinearClass)
    assert fit.lam is not None
    assert fit.gap is not None
    reward = here.problem.bandit.reward
    spread = float((reward.amax(-1) - reward.amin(-1)).max())
    size = covering_complexity(cls, data.n, cell["delta"])
    # κ must bound |Δ_{r*}| too, and the truth may leave the range of the class.
    r, c = max(cls.difference_bound, spread), here.coverage.single
    bound = upper_bound(r, c, size, fit.lam, fit.gap)
    term = misspecification(cell["dial"], fit.lam, data.n, cell["delta"], r, c)
    count = cell["seeds"]
    return {
        "suboptimality": here.suboptimality(fit.policy.probabilities()).tolist(),
        "bound_upper": (bound.total + term).tolist(),
        "term": term.tolist(),
        "lam": fit.lam.tolist(),
        "n": [cell["n"]] * count,
        "dial": [cell["dial"]] * count,
        "concentrability": [c] * count,
    }


def draw(rows: pl.DataFrame) -> Any:
    """Measured suboptimality, and the bound's misspecification term, against `n`."""
    drawn, axes = study.figure(1, 2)
    for index, ((dial,), part) in enumerate(rows.group_by("dial", maintain_order=True)):
        mean = part.group_by("n", maintain_order=True).agg(
            pl.col("suboptimality", "term", "bound_upper").mean()
        )
        look = {
            "color": study.COLOURS[index], "marker": study.MARKERS[index],
            "ls": study.LINES[index], "ms": 4, "label": f"ε = {dial:g}",
        }  # fmt: skip
        axes[0, 0].plot(mean["n"], mean["suboptimality"].clip(1e-5), **look)
        if float(dial) > 0:
            axes[0, 1].plot(mean["n"], mean["term"], **look)
    axes[0, 0].set(xscale="log", yscale="log", xlabel="comparisons n", ylabel="mean suboptimality")
    axes[0, 0].set_title("measured, λ = √n (below 1e-5 drawn at 1e-5)")
    axes[0, 1].set(xscale="log", yscale="log", xlabel="comparisons n", ylabel="term of the bound")
    axes[0, 1].set_title("what the theory allows")
    axes[0, 0].legend()
    return drawn


def main_study(settings: dict[str, Any], output: Path) -> bool:
    """Run and report."""
    console = Console()
    keys = ("seeds", "scale", "coverage", "delta")
    cells = [
        {"dial": float(dial), "n": n, **{k: settings[k] for k in keys}}
        for dial in settings["dials"]
        for n in settings["n"]
    ]
    rows = study.run_cells("misspecification", cells, compute, Path(settings["store"]), console)
    table = rows.group_by("dial", "n", maintain_order=True).agg(
        pl.col("suboptimality").mean(),
        pl.col("suboptimality").quantile(1 - settings["delta"]).alias("quantile"),
        pl.col("bound_upper", "term").mean(),
    )
    names = ("suboptimality", "quantile", "term", "bound_upper")
    lines = [
        [f"{r['dial']:g}", f"{r['n']:,}", *(f"{r[name]:.4g}" for name in names)]
        for r in table.iter_rows(named=True)
    ]
    header = ["ε", "n", "mean suboptimality", "(1−δ)-quantile", "term", "whole bound"]
    drawn = {"misspecification": draw(rows)}
    study.report(
        "misspecification", "A class that misses r*", header, lines, rows, drawn, output, console
    )
    return True


@hydra.main(version_base="1.3", config_path=CONFIGURATION, config_name="misspecification")
def main(config: DictConfig) -> None:
    """Entry point."""
    run_program(main_study, config)


if __name__ == "__main__":
    main()
