"""The grid of a chart, judged before any run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from pydantic import Field

from experiments.common.choices import refusal
from experiments.common.configuration import Comparisons, Natural, Several, read
from llm.comparison.setting import Cell, Setting
from spac_theory.checks import InputError

Coverage = Annotated[float, Field(gt=0, lt=1)]
Cells = Annotated[tuple[tuple[str, Coverage, Comparisons], ...], Field(min_length=1)]
Option = bool | float | int | str


@dataclass(frozen=True)
class Ablations:
    """Named changes of the method in focus, run in a few cells on seeds that nothing was chosen on."""

    cells: Cells
    seeds: Several[Natural]
    settings: dict[str, dict[str, Option]]


@dataclass(frozen=True)
class Grid:
    """What `conf/llm/chart.yaml` says of `chart`; a league has no `focus`, and `twins` in the bandit."""

    cells: Cells
    focus: str | None
    settings: dict[str, Annotated[list[dict[str, Option]], Field(min_length=1)]]
    tuning_seed: Natural
    tuning_cells: Cells
    seeds: Several[Natural]
    ablations: Ablations | None = None
    twins: dict[str, str] = field(default_factory=dict)

    def tried(self, method: str) -> list[Setting]:
        """All settings of a rival that are tried in tuning."""
        return [Setting.of(method, changes) for changes in self.settings[method]]

    @property
    def everything(self) -> list[Setting]:
        """Every setting of every rival."""
        return [setting for method in self.settings for setting in self.tried(method)]

    @property
    def ours(self) -> Setting:
        """The method in focus, as it is."""
        assert self.focus is not None
        return Setting(self.focus)

    @property
    def untuned(self) -> list[Setting]:
        """What runs as it is: the method in focus, if there is one."""
        return [] if self.focus is None else [self.ours]

    def ablated(self) -> dict[str, Setting]:
        """The ablations by name."""
        found = self.ablations.settings if self.ablations else {}
        return {n: Setting.of(self.ours.method, changes) for n, changes in found.items()}


def cells_of(listed: Any) -> list[Cell]:
    """Cells from triples."""
    return [Cell(str(name), float(coverage), int(n)) for name, coverage, n in listed]


def check(values: Any, methods: list[str]) -> Grid:
    """The grid; raises InputError for one that could not be finished."""
    grid = read(Grid, values, "chart")
    if grid.focus is None:
        grid = _league(grid, methods)
    for name in (*(s.method for s in grid.untuned), *grid.settings):
        if name not in methods:
            raise InputError(refusal("chart.settings", name, methods))
    if grid.focus in grid.settings:
        raise InputError(
            f"chart.settings has {grid.focus!r}, which is chart.focus and runs untuned; take it out."
        )
    if len({len(tried) for tried in grid.settings.values()}) > 1:
        counts = ", ".join(f"{len(tried)} of {name}" for name, tried in grid.settings.items())
        raise InputError(f"chart.settings tries {counts}; give every method as many settings.")
    if grid.tuning_seed in grid.seeds:
        raise InputError(
            f"chart.seeds holds {grid.tuning_seed}, the tuning_seed; report other seeds than it."
        )
    tuned = {language for language, _, _ in grid.tuning_cells}
    for language, _, _ in grid.cells:
        if language not in tuned:
            raise InputError(
                f"chart.tuning_cells has no cell of {language!r}, which chart.cells has; add one."
            )
    return grid


def _league(grid: Grid, methods: list[str]) -> Grid:
    """The grid with the settings of these methods alone; each must have some."""
    lacking = [name for name in methods if name not in grid.settings]
    if lacking:
        raise InputError(
            f"chart.settings has none for {', '.join(lacking)}, and a league tunes every method; give each "
            "as many as the others, or leave it out of methods."
        )
    if grid.ablations is not None:
        raise InputError(
            "chart.ablations changes the method in focus, and a league has none; leave it out."
        )
    return replace(grid, settings={name: grid.settings[name] for name in methods})
