"""One cell of a sweep, fitted once more: the true reward, where the data are, and the policy learned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from experiments.common.style import title
from experiments.engine.specs import build_algorithm
from experiments.results.axes import PAPER, PAPER_RC
from experiments.studies.sweep.again import sweep_of
from spac_theory.checks import InputError
from spac_theory.view import Oracle

Array = NDArray[np.float64]
FONT = 5.5  # of the numbers in the cells of a heat map
MOST = 12  # columns that still have room for numbers


@dataclass(frozen=True)
class Cell:
    """Tables `(X, A)` of one cell: reward, behaviour, comparisons that showed each action, policy."""

    algorithm: str
    dial: float
    n: int
    seed: int
    reward: Array
    behaviour: Array
    shown: Array
    policy: Array
    suboptimality: float


def cell(
    folder: str | Path,
    algorithm: str,
    dial: float | None = None,
    n: int | None = None,
    seed: int = 0,
) -> Cell:
    """Fit one algorithm of a finished sweep on one of its data sets again.

    `dial` and `n` are the first and the last of the sweep by default. Raises InputError for what the sweep
    does not have, and for contexts from a density, which have no table.
    """
    sweep, store = sweep_of(Path(folder))
    at = sweep.dials[0] if dial is None else dial
    size = max(sweep.settings.grid.n) if n is None else n
    units = [
        unit
        for unit in sweep.units(store)
        if (unit.dial, unit.n) == (at, size) and seed in unit.seeds and algorithm in unit.algorithms
    ]
    if not units:
        raise InputError(
            f"the sweep has no cell with algorithm {algorithm!r}, dial {at:g}, n {size} and seed {seed}; "
            f"algorithms: {', '.join(sweep.algorithms)}; dials: {', '.join(f'{d:g}' for d in sweep.dials)}."
        )
    unit, setting = units[0], units[0].setting()
    data = setting.data(size, unit.seeds)
    if not hasattr(data, "wins"):
        raise InputError(
            "the contexts of this sweep come from a density; a table has no room for them."
        )
    fit = setting.fit(
        build_algorithm(unit.algorithms[algorithm]), data, Oracle(setting.coverage.single)
    )
    index, policy = seed - unit.seeds.start, fit.policy.probabilities()
    wins = data.wins[index].double()
    return Cell(
        algorithm, at, size, seed,
        reward=setting.problem.bandit.reward.numpy(),
        behaviour=setting.behaviour.numpy(),
        shown=(wins.sum(-1) + wins.sum(-2)).numpy(),
        policy=policy[index].numpy(),
        suboptimality=float(setting.suboptimality(policy)[index]),
    )  # fmt: skip


def heatmap(found: Cell) -> Figure:
    """Reward, comparisons and policy side by side, contexts down, actions across, numbers in the cells."""
    panels = {
        "true reward\nr*(x,a)": (found.reward, "{:.2f}", "cividis"),
        f"how often a was compared at x\n(n = {found.n:,})": (found.shown, "{:.0f}", "Greys"),
        f"policy of\n{title(found.algorithm)}": (found.policy, "{:.2f}", "Blues"),
    }
    rows, columns = found.reward.shape
    wide = PAPER["two"][0]
    with matplotlib.rc_context({**PAPER_RC, "axes.grid": False}):
        height = 0.9 + wide / 3.4 * min(rows / columns, 2.5)
        figure = Figure(figsize=(wide, height), layout="constrained")
        for axes, (name, (table, form, colours)) in zip(
            figure.subplots(1, 3, sharey=True), panels.items(), strict=True
        ):
            axes.imshow(table, cmap=colours, aspect="auto")
            axes.set(title=name, xlabel="action a")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(integer=True))
            if columns <= MOST:
                _numbers(axes, table, form)
            if axes.get_subplotspec().is_first_col():
                axes.set_ylabel("context x")
        figure.suptitle(
            f"dial {found.dial:g}, data set {found.seed}: suboptimality {found.suboptimality:.3f}",
            fontsize=8,
        )
    return figure


def _numbers(axes: matplotlib.axes.Axes, table: Array, form: str) -> None:
    """The value in each cell, light on dark."""
    image = axes.images[0]
    low, high = float(table.min()), float(table.max())
    for (x, a), value in np.ndenumerate(table):
        red, green, blue, _ = image.cmap((value - low) / ((high - low) or 1.0))
        dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
        text = form.format(value).removeprefix("0") if 0 < value < 1 else f"{value:.4g}"
        axes.text(a, x, text, ha="center", va="center", fontsize=FONT,
                  color="white" if dark else "black")  # fmt: skip
