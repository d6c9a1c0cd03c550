"""How often the theorem fails on random realizable instances, and how loose it is.

    python -m experiments.violations

Every instance has its own truth, behaviour, sample size, `λ` and data; a group of them shares a
class. For each: the bound (T1) at the instance's own `λ` and certified gap, the same with the
textbook constant `κ²` in place of `4κ`, the bound (T2) of the constraint form at its own gaps, and the
event (H) of the proofs. The theorems allow each to fail with probability `δ`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import polars as pl
import torch
from omegaconf import DictConfig
from rich.console import Console
from torch import Tensor

from experiments.common.program import CONFIGURATION, run_program
from experiments.engine import study
from experiments.studies.violations.instances import Group, Instances, draw_instances
from spac_theory import checks
from spac_theory.bandit.preferences import WinnerCounts, pair_law
from spac_theory.bounds.constraint import constraint_bound
from spac_theory.bounds.upper import Complexity, kappa
from spac_theory.links import BRADLEY_TERRY
from spac_theory.objective import tabular_margins, tabular_preference_loss
from spac_theory.rewards.finite import FiniteClass
from spac_theory.rewards.linear import LinearClass
from spac_theory.saddle.constrained import constrained_saddle
from spac_theory.saddle.game import Game
from spac_theory.saddle.solve import solve_saddle

CLASSES = ("finite", "linear", "kernel")
DIRECTIONS = 12
BOUNDS = {"t1": "(T1)", "textbook": "(T1) with κ² for 4κ", "t2": "(T2)", "h": "event (H)"}
ROUNDING = 1e-12


def hellinger(group: Group, reward: Tensor) -> Tensor:
    """`h²(r)` of rewards `(..., S, X, A)` against each truth, `(..., S)`."""
    ours, theirs = tabular_margins(reward), tabular_margins(group.truth)
    p, q = torch.sigmoid(ours), torch.sigmoid(theirs)
    cell = (p.sqrt() - q.sqrt()) ** 2 + ((1 - p).sqrt() - (1 - q).sqrt()) ** 2
    pairs = group.rho[:, None, None] * pair_law(group.behaviour)
    return (pairs * cell).sum((-3, -2, -1))


def event_h(group: Group, data: WinnerCounts, candidates: Tensor, size: Complexity) -> Tensor:
    """Largest `h(r) / (√(E_D(r) − E_D(r*) + ε_n)_+ + ε/2)` of candidates `(K, S, X, A)`, `(S,)`.

    At most 1 on the event (H): every `r` is within `ε/2` in Hellinger distance of a point of the
    net. For a finite class `ε = 0` and the candidates are all members.
    """
    truth = tabular_preference_loss(group.truth, data.fraction)
    excess = torch.stack([tabular_preference_loss(r, data.fraction) for r in candidates]) - truth
    allowed = (excess + size.epsilon_n).clamp_min(0).sqrt() + size.net_radius / 2
    distance = hellinger(group, candidates).clamp_min(0).sqrt()
    return torch.where(distance > 1e-9, distance / allowed.clamp_min(1e-300), 0.0).amax(0)


def _candidates(group: Group, game: Game, critic: Tensor, best: Tensor) -> Tensor:
    """Members at which (H) is tried: all of a finite class, else those that the proof and data favour.

    For a ball: the critic of the saddle, the members that minimise `E_D` plus or minus shrinking multiples
    of the comparator's claim (the last of them the likeliest member), and around the truth and around the
    likeliest member the two ends of the ball in `DIRECTIONS` random directions and points on the way, in
    the parameters: `1 + 6 + 2 · 2 · 3 · DIRECTIONS` members.
    """
    cls = group.cls
    if isinstance(cls, FiniteClass):
        return cls.members[:, None].expand(-1, len(group.n), -1, -1)
    fraction, one = game.data.fraction, torch.ones_like(game.lam)
    towards = group.rho[:, None] * (best - group.baseline)
    found = [critic]
    for lam in (game.lam, 10 * game.lam, 1e6 * one):
        for sign in (1.0, -1.0):
            answer = cls.best_response(sign * towards, lam, fraction, BRADLEY_TERRY, 1e-4)
            found.append(answer.reward)
    return torch.cat([torch.stack(found), _rays(cls, group.truth, found[-1])])


def _rays(cls: LinearClass, *centres: Tensor) -> Tensor:
    """Members on random rays from each centre `(S, X, A)` to the edge of the ball, `(K, S, X, A)`."""
    assert cls.norm_bound is not None
    rows = cls.features.flatten(0, 1)
    inverse = torch.linalg.pinv(rows)
    rng = torch.Generator().manual_seed(0)
    shape = (DIRECTIONS, 1, cls.dimension)
    way = torch.nn.functional.normalize(
        torch.randn(shape, generator=rng, dtype=torch.float64), dim=-1
    )
    found = []
    for centre in centres:
        theta = centre.flatten(1) @ inverse.T  # (S, d)
        along = (theta * way).sum(-1)  # (K, S)
        left = (cls.norm_bound**2 - (theta**2).sum(-1)).clamp_min(0)
        for sign in (1.0, -1.0):
            reach = (along**2 + left).sqrt() - sign * along
            for share in (1.0, 0.3, 0.03):
                found.append((theta + sign * share * reach.unsqueeze(-1) * way) @ rows.T)
    return torch.cat(found).unflatten(-1, cls.shape)


def constraint_ratio(drawn: Instances) -> study.Columns:
    """Measured over (T2) for every instance, infinite where the solver gave no number."""
    group, size = drawn.group, drawn.size
    solved = constrained_saddle(drawn.game(torch.zeros_like(size.epsilon_n)), size.epsilon_n, 1e-7)
    gap, bound = solved.saddle.certificate.gap, group.cls.difference_bound
    # Each instance has a `C` of its own, so (T2) is put together here from its terms at `C = 1`.
    unit = constraint_bound(bound, 1.0, size, solved.fit_gap, gap)
    c = drawn.concentrability
    total = unit.statistics * c.sqrt() + unit.net * c.sqrt().clamp_max(1) + gap
    ratio = drawn.loss(solved.saddle.policy) / (total + ROUNDING)
    return {
        "t2": torch.where(torch.isnan(ratio), torch.inf, ratio).tolist(),
        "t2_gap": gap.tolist(),
        "t2_useful": (total < bound).double().tolist(),
        "t2_lam": solved.lam.tolist(),
    }


def compute_constraint(settings: study.Cell) -> study.Columns:
    """(T2) alone: what its claim needs."""
    columns = constraint_ratio(draw_instances(settings))
    return {**columns, "algorithm": [settings["class"]] * settings["instances"]}


def compute(settings: study.Cell) -> study.Columns:
    """Measured over bound for every instance of a group."""
    drawn = draw_instances(settings)
    group, size, c = drawn.group, drawn.size, drawn.concentrability
    k = kappa(group.cls.difference_bound)
    known = torch.where(torch.isfinite(c) & (c > 0), c, 1.0)
    lam = group.share * (k * known / size.epsilon_n).sqrt()
    game = drawn.game(lam)
    saddle = solve_saddle(game, 1e-7)
    loss = drawn.loss(saddle.policy)
    rest = (
        lam * size.epsilon_n + 2 * size.net_radius * c.sqrt().clamp_max(1) + saddle.certificate.gap
    )
    bounds = {"t1": k * c / lam + rest, "textbook": k**2 / 4 * c / lam + rest}
    candidates = _candidates(group, game, saddle.reward, drawn.best)
    return {
        **{name: (loss / bound).tolist() for name, bound in bounds.items()},
        **constraint_ratio(drawn),
        "h": event_h(group, drawn.data, candidates, size).tolist(),
        "suboptimality": loss.tolist(),
        "concentrability": c.tolist(),
        "n": group.n.tolist(),
        "gap": saddle.certificate.gap.tolist(),
        "useful": (bounds["t1"] < group.cls.difference_bound).double().tolist(),
        "algorithm": [settings["class"]] * settings["instances"],
    }


def cells_of(instances: int, per_group: int, delta: float) -> list[study.Cell]:
    """Groups of each class, at least `instances` instances in all."""
    groups = math.ceil(instances / per_group / len(CLASSES))
    return [
        {"class": kind, "group": index, "instances": per_group, "delta": delta}
        for kind in CLASSES
        for index in range(groups)
    ]


def run(instances: int, per_group: int, delta: float) -> pl.DataFrame:
    """All instances, without a store."""
    frames = []
    for cell in cells_of(instances, per_group, delta):
        columns = compute(cell)
        frames.append(pl.DataFrame(columns))
    return pl.concat(frames)


def summarise(rows: pl.DataFrame, delta: float) -> tuple[list[str], list[list[str]]]:
    """Violations with their Clopper–Pearson interval, and quantiles of measured over bound."""
    from spac_theory.statistics import clopper_pearson

    header = ["class", "bound", "instances", "violated", "95 % interval", "allowed"]
    header += ["median", "90 %", "99 %", "largest"]
    lines = []
    for kind in (*CLASSES, "all"):
        part = rows if kind == "all" else rows.filter(pl.col("algorithm") == kind)
        for name, words in BOUNDS.items():
            ratio = part[name].to_numpy()
            interval = clopper_pearson(int((ratio > 1).sum()), len(ratio))
            quantiles = np.quantile(ratio, [0.5, 0.9, 0.99, 1.0])
            share = f"[{interval.low:.2g}, {interval.high:.2g}]"
            line = [kind, words, str(len(ratio)), f"{int((ratio > 1).sum())}", share, f"{delta:g}"]
            lines.append(line + [f"{q:.3f}" for q in quantiles])
    return header, lines


def draw(rows: pl.DataFrame) -> Any:
    """Share of instances beyond each ratio of measured to bound, a curve a class."""
    shown = ("t1", "t2", "h")
    drawn, axes = study.figure(1, len(shown))
    for axis, name in zip(axes[0], shown, strict=True):
        for index, kind in enumerate(CLASSES):
            ratio = np.sort(rows.filter(pl.col("algorithm") == kind)[name].to_numpy())
            share = 1 - np.arange(len(ratio)) / len(ratio)
            look = {"color": study.COLOURS[index], "ls": study.LINES[index], "lw": 1.6}
            axis.plot(ratio.clip(1e-4), share, label=kind, **look)
        axis.axvline(1, color="#7F7F7F", lw=1)
        axis.axvspan(1, 2.5, color="#EEEEEE", zorder=0)
        axis.annotate("violated", (1.05, 0.5), va="center", fontsize=8, rotation=90)
        broken, largest = int((rows[name] > 1).sum()), float(rows[name].max())  # type: ignore[arg-type]
        axis.set(xscale="log", yscale="log", xlabel="measured / bound", xlim=(1e-4, 2.5))
        axis.set(ylabel="share of instances beyond")
        axis.set_title(
            f"{BOUNDS[name]}: {broken} of {len(rows):,} violated (largest ratio {largest:.2f})"
        )
        axis.legend(loc="lower left", title="class")
    return drawn


def main_study(settings: dict[str, Any], output: Path) -> bool:
    """Run, count, report."""
    console = Console()
    delta = checks.number("delta", settings["delta"], low=0, high=1, open_low=True, open_high=True)
    cells = cells_of(
        checks.integer("instances", settings["instances"], low=3),
        checks.integer("per_group", settings["per_group"], low=1),
        delta,
    )
    rows = study.run_cells("violations", cells, compute, Path(settings["store"]), console)
    header, lines = summarise(rows, delta)
    title = "Violations on random realizable instances"
    drawn = {"violations": draw(rows)}
    study.report("violations", title, header, lines, rows, drawn, output, console)
    return True


@hydra.main(version_base="1.3", config_path=CONFIGURATION, config_name="violations")
def main(config: DictConfig) -> None:
    """Entry point."""
    run_program(main_study, config)


if __name__ == "__main__":
    main()
