"""What SPAC loses when the class misses the true reward by a dial, and what the theory allows.

    python -m experiments.misspecification

Two instances. In both `r* = φθ* + ε g` with `sup |Δ_g| = 1`, so the closest member is within `ε`.

`trap`: the data compare a faint relative of an action that they never show, and the class reads the one
from the other. With `ε` the relative looks better than the class thinks it can, the likelihood's favourite
`r°` says that the action is good, and at large `λ` the learner believes it: the loss grows with `λ` and
with `ε`, up to a plateau.
`spread`: a random pattern outside the span of the features, which nothing amplifies.

Two bounds are checked: (T1) with the misspecification term, which grows with `λ`, and (T1) around `r°`, whose
price `ε° = sup|Δ_{r*} − Δ_{r°}|` does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import polars as pl
import torch
from omegaconf import DictConfig
from rich.console import Console
from torch import Tensor

from experiments.common.program import CONFIGURATION, run_program
from experiments.engine import study
from experiments.engine.trials import Place, baseline_policy
from spac_theory import (
    LearnerView,
    PreferenceModel,
    checks,
    make_algorithm,
    make_behaviour,
    make_problem,
    pair_law,
    winner_law,
)
from spac_theory.bandit.contextual import ContextualBandit
from spac_theory.bounds.loosened import misspecification
from spac_theory.bounds.projection import distance, projected_complexity, projection
from spac_theory.bounds.upper import covering_complexity, upper_bound
from spac_theory.concentrability.classes import Design, concentrability_of
from spac_theory.concentrability.coverage import Coverage
from spac_theory.concentrability.linear import AllPolicy
from spac_theory.problems import Problem, uniform_profile
from spac_theory.rewards.linear import LinearClass
from spac_theory.statistics import clopper_pearson

INSTANCES = ("trap", "spread")
FAINT = 0.1
TRAP_CONTEXTS = 8
BOUNDS = {"bound_upper": "(T1) + term in λ", "bound_projected": "(T1) around r°"}


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


@dataclass(frozen=True)
class Missed:
    """A class, its member closest to the truth, and the pattern by which the truth leaves it."""

    reward_class: LinearClass
    member: Tensor
    pattern: Tensor
    rho: Tensor
    name: str


def spread(share: float) -> tuple[Missed, Tensor]:
    """The `linear` problem and the `coverage` behaviour at `share`."""
    linear = make_problem("linear")
    cls, bandit = linear.reward_class, linear.bandit
    assert isinstance(cls, LinearClass)
    missed = Missed(cls, bandit.reward, outside(bandit.features), bandit.rho, bandit.name)
    return missed, make_behaviour("coverage").policy(linear, share)


def trap(share: float) -> tuple[Missed, Tensor]:
    """Actions: good (`φ = (c_x, 0)`), plain (0), the trap `(0, 1)`, its faint relative `(0, FAINT)`.

    `θ* = (1, −1)`: the trap is the worst action. The behaviour plays the good action with probability
    `share`, never the trap, and the other two alike.
    """
    contexts = TRAP_CONTEXTS
    features = torch.zeros(contexts, 4, 2, dtype=torch.float64)
    features[:, 0, 0] = torch.linspace(0.1, 0.9, contexts, dtype=torch.float64)
    features[:, 2, 1], features[:, 3, 1] = 1.0, FAINT
    member = features @ torch.tensor([1.0, -1.0], dtype=torch.float64)
    pattern = torch.zeros(contexts, 4, dtype=torch.float64)
    pattern[:, 3] = 1.0
    rho = torch.full((contexts,), 1 / contexts, dtype=torch.float64)
    rest = (1 - share) / 2
    mu = torch.tensor([[share, rest, 0.0, rest]] * contexts, dtype=torch.float64)
    return Missed(LinearClass(features, norm_bound=2.0), member, pattern, rho, "trap"), mu


def misspecified_place(instance: str, dial: float, share: float, delta: float) -> Place:
    """An instance with its truth moved out of the class by `dial`; `C` is the class's own."""
    checks.choice("instance", instance, INSTANCES)
    missed, mu = {"trap": trap, "spread": spread}[instance](share)
    bandit = ContextualBandit(
        rho=missed.rho,
        features=missed.reward_class.features,
        reward=missed.member + dial * missed.pattern,
        name=f"{missed.name}-missed-{dial:g}",
    )
    problem = Misspecified(bandit, missed.reward_class, uniform_profile(*bandit.shape))
    nu = baseline_policy("behaviour", problem, mu)
    view = LearnerView(missed.reward_class, bandit.rho, mu, nu, delta=delta)
    design = Design(missed.member, bandit.rho, pair_law(mu), nu)
    c = concentrability_of(missed.reward_class, design, bandit.optimal_policy)
    return Place(problem, mu, view, Coverage(c.value, AllPolicy(0.0, float("inf")), c.kind))


def projected_distance(here: Place) -> float:
    """`ε° = sup|Δ_{r*} − Δ_{r°}|`, and `r°` from the exact law of a label."""
    bandit = here.problem.bandit
    law = winner_law(
        bandit.rho, pair_law(here.behaviour), PreferenceModel.from_reward(bandit.reward)
    )
    return distance(bandit.reward, projection(here.view.reward_class, law))


def compute(cell: study.Cell) -> study.Columns:
    """Suboptimality of SPAC at `λ = scale √n`, both bounds, and what each adds to (T1)."""
    dial, delta, count = cell["dial"], cell["delta"], cell["seeds"]
    here = misspecified_place(cell["instance"], dial, cell["coverage"], delta)
    data = here.data(cell["n"], count)
    fit = make_algorithm("spac", scale=cell["scale"]).fit(here.view, data)
    cls, reward, link = here.view.reward_class, here.problem.bandit.reward, here.view.link
    assert fit.lam is not None
    assert fit.gap is not None
    c, far = here.coverage.single, projected_distance(here)
    # κ must bound |Δ_{r*}| too, and the truth may leave the range of the class.
    r = max(cls.difference_bound, float((reward.amax(-1) - reward.amin(-1)).max()))
    size = covering_complexity(cls, data.n, delta, link)
    bound = upper_bound(r, c, size, fit.lam, fit.gap, link).total
    term = misspecification(dial, fit.lam, data.n, delta, r, c, link)
    around = projected_complexity(cls, data.n, delta)
    projected = upper_bound(cls.difference_bound, c, around, fit.lam, fit.gap).total + far
    return {
        "suboptimality": here.suboptimality(fit.policy.probabilities()).tolist(),
        "bound_upper": (bound + term).tolist(),
        "bound_projected": projected.tolist(),
        "term": term.tolist(),
        "projected_distance": [far] * count,
        "lam": fit.lam.tolist(),
        "n": [cell["n"]] * count,
        "dial": [dial] * count,
        "concentrability": [c] * count,
        "problem": [cell["instance"]] * count,
    }


def _measured(axis: Any, rows: pl.DataFrame, title: str) -> None:
    """Mean loss against `λ`, a curve a dial."""
    for index, ((dial,), part) in enumerate(rows.group_by("dial", maintain_order=True)):
        mean = part.group_by("n", maintain_order=True).agg(pl.col("suboptimality", "lam").mean())
        axis.plot(
            mean["lam"], mean["suboptimality"], color=study.COLOURS[index], ms=4,
            marker=study.MARKERS[index], ls=study.LINES[index], label=f"ε = {float(dial):g}",
        )  # fmt: skip
    axis.set(xscale="log", xlabel="λ = √n", ylabel="mean suboptimality (reward)", title=title)
    axis.set_ylim(0, None)
    axis.legend()


def _bounds(axis: Any, rows: pl.DataFrame) -> None:
    """One dial of the trap: what was lost, and what both bounds allow."""
    dial = float(rows["dial"].max())  # type: ignore[arg-type]
    part = rows.filter(pl.col("dial") == dial)
    names = ("suboptimality", "bound_upper", "bound_projected", "lam", "projected_distance")
    mean = part.group_by("n", maintain_order=True).agg(pl.col(*names).mean())
    axis.plot(
        mean["lam"], mean["bound_upper"], color="#D55E00", ls="--", label=BOUNDS["bound_upper"]
    )
    label = BOUNDS["bound_projected"]
    axis.plot(mean["lam"], mean["bound_projected"], color="#0072B2", ls="-.", label=label)
    far = float(mean["projected_distance"][0])
    axis.axhline(far, color="#7F7F7F", lw=0.8, ls=":", label=f"ε° = {far:.2g}")
    shown = mean.filter(pl.col("suboptimality") > 1e-4)
    axis.plot(
        shown["lam"], shown["suboptimality"], color="black", marker="o", ms=4, label="measured"
    )
    axis.set(xscale="log", yscale="log", xlabel="λ = √n", ylabel="suboptimality (reward)")
    axis.set_title(f"trap, ε = {dial:g}: the price grows with λ\nup to ε°, never beyond")
    axis.legend()


def draw(rows: pl.DataFrame) -> Any:
    """The trap's loss, its bounds, and the loss where nothing amplifies the error."""
    parts = {name: rows.filter(pl.col("problem") == name) for name in INSTANCES}
    shown = [name for name in INSTANCES if len(parts[name])]
    drawn, axes = study.figure(1, len(shown) + ("trap" in shown))
    if "trap" in shown:
        title = "trap: more trust in the data (λ),\nmore loss, as the class misses r* by more"
        _measured(axes[0, 0], parts["trap"], title)
        _bounds(axes[0, 1], parts["trap"])
    if "spread" in shown:
        title = "spread: nothing amplifies the error,\nand the loss settles low"
        _measured(axes[0, -1], parts["spread"], title)
    return drawn


def violations(rows: pl.DataFrame) -> list[str]:
    """How often each bound was broken, with its interval."""
    said = []
    for name, words in BOUNDS.items():
        broken = int((rows["suboptimality"] > rows[name]).sum())
        high = clopper_pearson(broken, len(rows)).high
        said.append(f"{words}: {broken} violations in {len(rows)} fits (at most {high:.2g})")
    return said


def main_study(settings: dict[str, Any], output: Path) -> bool:
    """Run and report."""
    console = Console()
    keys = ("seeds", "scale", "delta", "coverage")
    cells = [
        {"instance": name, "dial": float(dial), "n": n, **{k: settings[k] for k in keys}}
        for name, dials in settings["dials"].items()
        for dial in dials
        for n in settings["n"]
    ]
    rows = study.run_cells("misspecification", cells, compute, Path(settings["store"]), console)
    table = rows.group_by("problem", "dial", "n", maintain_order=True).agg(
        pl.col("suboptimality").mean(),
        pl.col("suboptimality").quantile(1 - settings["delta"]).alias("quantile"),
        pl.col("projected_distance", "bound_upper", "bound_projected").mean(),
    )
    names = ("suboptimality", "quantile", "projected_distance", *BOUNDS)
    lines = [
        [r["problem"], f"{r['dial']:g}", f"{r['n']:.0e}", *(f"{r[name]:.3g}" for name in names)]
        for r in table.iter_rows(named=True)
    ]
    header = ["instance", "ε", "n", "mean", "quantile", "ε°", "(T1) + term", "(T1) at r°"]
    drawn = {"misspecification": draw(rows)}
    title = "A class that misses r*: " + "; ".join(violations(rows))
    study.report("misspecification", title, header, lines, rows, drawn, output, console)
    return True


@hydra.main(version_base="1.3", config_path=CONFIGURATION, config_name="misspecification")
def main(config: DictConfig) -> None:
    """Entry point."""
    run_program(main_study, config)


if __name__ == "__main__":
    main()
