"""The grid of a chart, judged before any run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from experiments.common.choices import refusal
from experiments.common.configuration import Comparisons, Natural, Several, read
from spac_theory.checks import InputError

Coverage = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class Grid:
    """What `conf/llm/chart.yaml` says of `chart`."""

    cells: Annotated[tuple[tuple[str, Coverage, Comparisons], ...], Field(min_length=1)]
    settings: dict[str, dict[str, Several[float]]]
    tuning_seed: Natural
    tuning_coverage: Coverage
    seeds: Several[Natural]
    in_full: tuple[str, ...]


def check(values: Any, methods: list[str]) -> None:
    """Raise InputError for a grid that could not be finished."""
    grid = read(Grid, values, "chart")
    for name, tried in grid.settings.items():
        if name not in methods:
            raise InputError(refusal("chart.settings", name, methods))
        if len(tried) != 1:
            raise InputError(
                f"chart.settings.{name} is {tried!r}; it must map one option to the values to try."
            )
    for name in grid.in_full:
        if name not in grid.settings:
            raise InputError(refusal("chart.in_full", name, grid.settings))
    if grid.tuning_seed in grid.seeds:
        raise InputError(
            f"chart.seeds holds {grid.tuning_seed}, the tuning_seed; report other seeds than it."
        )
    tuned = {language for language, coverage, _ in grid.cells if coverage == grid.tuning_coverage}
    for language, _, _ in grid.cells:
        if language not in tuned:
            raise InputError(
                f"chart.cells has {language!r} at no coverage of {grid.tuning_coverage:g}, the "
                "tuning_coverage; add such a cell."
            )
