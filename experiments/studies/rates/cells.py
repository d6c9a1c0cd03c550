"""The instances of the rates study, and SPAC at the theorem's `λ*` on each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field

from experiments.common.configuration import (
    WHOLE,
    Comparisons,
    Positive,
    Probability,
    Several,
)
from experiments.engine.columns import flag, real
from experiments.engine.study import Cell, Columns
from spac_theory import InputError
from spac_theory.bounds.upper import best_upper_bound, finite_complexity
from spac_theory.instances.local_family import LocalInstance, local_instance

COVERAGES = (0.02, 0.05, 0.1, 0.2, 0.4)
SIZES = (10**4, 10**5, 10**6, 10**7, 10**8, 10**9)
FIXED_SIZES = tuple(round(10 ** (k / 4)) for k in range(8, 21))
Share = Annotated[float, Field(gt=0, lt=0.9)]
COLUMNS = {
    "rival_suboptimality": real("reward", "suboptimality at the rival of the lower bound, same λ"),
    "reward_gap": real("reward", "how much better the best action of the instance is"),
    "fixed_gap": flag("whether the reward gap stays as n grows; else it is of order √(C/n)"),
}


@dataclass(frozen=True)
class Fixed:
    """The instance whose gap does not shrink; gap 0 leaves it out."""

    gap: Annotated[float, Field(ge=0)]
    coverage: Share
    n: Several[Comparisons]


@dataclass(frozen=True)
class Settings:
    """The configuration `rates`."""

    coverages: Several[Share]
    n: Several[Comparisons]
    seeds: Annotated[int, WHOLE, Field(ge=30, le=100_000)]
    scale: Positive
    delta: Probability
    fixed: Fixed
    store: str

    def __post_init__(self) -> None:
        if len(self.n) < 2:
            raise InputError(f"n is {list(self.n)}; a slope needs at least two sample sizes.")


def cell(coverage: float, n: int, seeds: int, delta: float, scale: float, gap: float) -> Cell:
    """Settings of one cell; a positive `gap` fixes it, else it is `scale · √(C/n)`."""
    settings = {"coverage": coverage, "n": n, "seeds": seeds, "delta": delta}
    return {**settings, "scale": scale, "gap": gap}


def compute(settings: Cell) -> Columns:
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
        "lam": lam.tolist(),
        "gap": saddle.certificate.gap.tolist(),
        "bound_lower": lower,
        "coverage": p,
        "n": n,
        "delta": settings["delta"],
        "concentrability": c,
        "reward_gap": float(instance.gap),
        "fixed_gap": settings["gap"] > 0,
    }


def cells_of(
    coverages: tuple[float, ...],
    sizes: tuple[int, ...],
    seeds: int,
    delta: float,
    scale: float,
    fixed_gap: float,
    fixed_coverage: float,
    fixed_sizes: tuple[int, ...],
) -> list[Cell]:
    """All cells of the study."""
    moving = [cell(p, n, seeds, delta, scale, 0.0) for p in coverages for n in sizes]
    still = [cell(fixed_coverage, n, seeds, delta, scale, fixed_gap) for n in fixed_sizes]
    return moving + (still if fixed_gap > 0 else [])


def cells(settings: Settings) -> list[Cell]:
    """All cells that a configuration asks for."""
    fixed, common = settings.fixed, (settings.seeds, settings.delta, settings.scale)
    tries = [LocalInstance(p, 0.01) for p in (*settings.coverages, fixed.coverage)]
    assert tries  # an instance that cannot be is refused here, before any work
    return cells_of(settings.coverages, settings.n, *common, fixed.gap, fixed.coverage, fixed.n)
