"""The settings of a sweep, checked before any work starts, and its units of work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from experiments.common.configuration import (
    WHOLE,
    Comparisons,
    Count,
    Positive,
    Probability,
    Several,
    read,
)
from experiments.common.style import STYLES
from experiments.engine.launcher import Launcher
from experiments.engine.specs import Spec, load, resolve, resolve_algorithms, try_dials
from experiments.engine.units import Unit
from spac_theory import InputError

Policy = Literal["behaviour", "uniform"]


@dataclass(frozen=True)
class Grid:
    """Sample sizes, data sets, how many are computed together, and at most how many dials."""

    n: Several[Comparisons]
    seeds: Count
    block: Annotated[int, WHOLE, Field(ge=1, le=10_000)]
    max_dials: Count | None


@dataclass(frozen=True)
class Learner:
    """What every learner is told."""

    delta: Probability
    reference: Policy
    baseline: Policy


@dataclass(frozen=True)
class Pictures:
    """Labels of the headline, sizes of the figure against coverage, formats, titles, end of the axis.

    Empty labels and null stand for what the figures choose by themselves.
    """

    algorithms: tuple[str, ...]
    n: Several[Comparisons] | None
    formats: tuple[Literal["png", "pdf", "svg"], ...]
    title: bool = True
    floor: Positive | None = None


@dataclass(frozen=True)
class Settings:
    """The configuration `coverage_sweep` as it is written."""

    problem: dict[str, Any]
    behaviour: dict[str, Any]
    algorithm: dict[str, Any]
    grid: Grid
    learner: Learner
    launcher: Launcher
    figure: Pictures
    store: str
    plugins: tuple[str, ...]
    dry_run: bool


@dataclass(frozen=True)
class Dials:
    """The dials of a behaviour, taken apart from its options."""

    dials: Several[float]


@dataclass(frozen=True)
class Sweep:
    """A checked sweep; every spec is a plain dictionary with all its options resolved.

    Attributes
    ----------
    settings : as they were written
    problem, behaviour : specs `{"name", "options"}`
    dials : positions of the behaviour's dial
    algorithms : label to spec
    """

    settings: Settings
    problem: Spec
    behaviour: Spec
    dials: tuple[float, ...]
    algorithms: dict[str, Spec]
    plugins: tuple[str, ...] = ()

    @property
    def seeds(self) -> int:
        """Data sets that each cell reports."""
        return self.settings.grid.seeds

    def units(self, store: Path) -> Iterator[Unit]:
        """Every unit with all its algorithms; the last block may hold more seeds than are asked."""
        grid, learner = self.settings.grid, vars(self.settings.learner)
        for dial in self.dials:
            for n in sorted(grid.n):
                for block in range(-(-grid.seeds // grid.block)):
                    place = (
                        str(store.resolve()),
                        self.problem,
                        self.behaviour,
                        dial,
                        n,
                        dict(learner),
                    )
                    yield Unit(*place, block, grid.block, self.algorithms, self.plugins)


def read_sweep(config: Mapping[str, Any]) -> Sweep:
    """Check a configuration of `coverage_sweep` and resolve it.

    Raises InputError: a sentence a line, each with the field, its value and what would be right.
    """
    if "algorithm" not in config:  # Hydra leaves out a group that nothing was chosen from
        resolve_algorithms(None)
    settings = read(Settings, config)
    settings.launcher.check()
    plugins = load(settings.plugins)
    problem = resolve("problem", "problem", settings.problem)
    options = {k: v for k, v in settings.behaviour.items() if k != "dials"}
    behaviour = resolve("behaviour", "behaviour", options)
    dials = read(Dials, {"dials": settings.behaviour.get("dials", [])}, "behaviour").dials
    try_dials(dials, behaviour, problem)
    algorithms = resolve_algorithms(settings.algorithm)
    _known_labels(settings.figure.algorithms, algorithms)
    _known_sizes(settings.figure.n, settings.grid.n)
    kept = _thinned(dials, settings.grid.max_dials)
    sweep = Sweep(settings, problem, behaviour, kept, algorithms, plugins)
    ends = {min(settings.grid.n), max(settings.grid.n)}
    for unit in sweep.units(Path()):
        if unit.block == 0 and unit.n in ends:
            unit.setting().star_bound(unit.n)  # a class whose bounds are no numbers is refused here
    return sweep


def _thinned(dials: tuple[float, ...], limit: int | None) -> tuple[float, ...]:
    """At most `limit` of the dials, ends included."""
    kept = len(dials) if limit is None else min(limit, len(dials))
    return tuple(dials[round(i * (len(dials) - 1) / max(kept - 1, 1))] for i in range(kept))


def _known_sizes(wanted: tuple[int, ...] | None, sizes: tuple[int, ...]) -> None:
    """Refuse a panel at a sample size that the sweep does not have."""
    for n in wanted or ():
        if n not in sizes:
            raise InputError(
                f"figure.n holds {n}, which is no sample size of this sweep; grid.n has: "
                f"{', '.join(map(str, sorted(sizes)))}."
            )


def _known_labels(wanted: tuple[str, ...], algorithms: Mapping[str, Spec]) -> None:
    """Refuse a label that is neither of this sweep nor of any that the project draws."""
    for label in wanted:
        if label not in algorithms and label not in STYLES:
            raise InputError(
                f"figure.algorithms holds {label!r}, which is no label of this sweep; it has: "
                f"{', '.join(algorithms)}."
            )
