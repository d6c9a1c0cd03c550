"""The settings of a league, checked before any work starts, and its units of work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from experiments.common.configuration import WHOLE, Comparisons, Natural, Several, read
from experiments.engine.launcher import Launcher
from experiments.engine.specs import Spec, label_of, load, resolve, try_dials
from experiments.engine.store import open_store
from experiments.engine.units import Unit
from experiments.studies.league.entries import BUDGET, ENTRIES, Entry
from spac_theory import InputError, checks

DELTA = 0.1  # confidence level of the bounds that learners are told


@dataclass(frozen=True)
class Behaviour:
    """A registered family and the positions of its dial; further keys are its options."""

    name: str
    dials: Several[float]


@dataclass(frozen=True)
class Settings:
    """The configuration `league` as it is written."""

    problem: dict[str, Any]
    behaviour: dict[str, Any]
    n: Several[Comparisons]
    seeds: Annotated[int, WHOLE, Field(ge=2, le=10_000)]
    tuning_seeds: Annotated[int, WHOLE, Field(ge=1, le=10_000)]
    labels: Natural
    kl_radius: Annotated[float, Field(ge=0)]
    entries: tuple[str, ...]
    extra: dict[str, dict[str, Any]]
    plugins: tuple[str, ...]
    launcher: Launcher
    store: str


@dataclass(frozen=True)
class League:
    """A checked league; `specs` has the settings of each entry, the defaults first."""

    settings: Settings
    store: Path
    problem: Spec
    behaviour: Spec
    dials: tuple[float, ...]
    entries: dict[str, Entry]
    specs: dict[str, list[Spec]]
    plugins: tuple[str, ...] = ()
    learner: Spec = field(default_factory=dict)

    def cells(self) -> Iterator[tuple[float, int, str]]:
        """Dial, sample size and entry of every cell."""
        for n in sorted(self.settings.n):
            for dial in self.dials:
                for label in self.entries:
                    yield dial, n, label

    def unit(
        self, dial: float, n: int, algorithms: dict[str, Spec], *, tuning: bool = False
    ) -> Unit:
        """The data sets to report on, or other ones to tune on, at one cell."""
        size = self.settings.tuning_seeds if tuning else self.settings.seeds
        block = -(-self.settings.seeds // size) if tuning else 0
        place = str(self.store.resolve()), self.problem, self.behaviour, dial, n, self.learner
        return Unit(*place, block, size, algorithms, self.plugins)


def read_league(config: Mapping[str, Any]) -> League:
    """Check everything before any work starts.

    Raises InputError: a sentence a line, each with the field, its value and what would be right.
    """
    settings = read(Settings, config)
    settings.launcher.check()
    plugins = load(settings.plugins)
    parts = {k: settings.behaviour[k] for k in ("name", "dials") if k in settings.behaviour}
    dials = read(Behaviour, parts, "behaviour").dials
    options = {k: v for k, v in settings.behaviour.items() if k != "dials"}
    problem = resolve("problem", "problem", settings.problem)
    family = resolve("behaviour", "behaviour", options)
    try_dials(dials, family, problem)
    entries = _entries(settings)
    specs = {label: _specs(label, entry) for label, entry in entries.items()}
    learner: Spec = {"delta": DELTA, "reference": "behaviour", "baseline": "behaviour"}
    learner["labels"] = settings.labels
    found = League(
        settings,
        open_store(settings.store),
        problem,
        family,
        dials,
        entries,
        specs,
        plugins,
        learner,
    )
    for dial, n, _ in found.cells():
        found.unit(dial, n, {}).setting().star_bound(
            n
        )  # bounds that are no numbers are refused here
    return found


def _entries(settings: Settings) -> dict[str, Entry]:
    """The entries asked for, and those of the configuration itself, tuned over the `grid` that they bring."""
    asked = list(settings.entries) or list(ENTRIES)
    for label in asked:
        checks.choice("entries", label, ENTRIES)
    own = {}
    for label, given in settings.extra.items():
        spec, grid = _with_grid(label, given)
        found = resolve("algorithm", f"extra.{label}", spec)
        if label in ENTRIES:
            raise InputError(f"extra holds {label!r}, an entry of the league itself; rename it.")
        fixed = tuple(found["options"].items())
        own[label_of("extra", label)] = Entry(found["name"], grid, fixed=fixed)
    return {**{label: ENTRIES[label] for label in asked}, **own}


def _with_grid(label: str, given: Any) -> tuple[Any, tuple[dict[str, Any], ...]]:
    """The algorithm of an entry of one's own, and the settings that it may try beside its defaults."""
    if not isinstance(given, Mapping):
        return given, ()
    spec = dict(given)
    grid = spec.pop("grid", None) or []
    if not isinstance(grid, list) or not all(isinstance(one, Mapping) for one in grid):
        raise InputError(
            f"extra.{label}.grid is {grid!r}; write a list of options, as in [{{scale: 0.1}}, {{scale: 3}}]."
        )
    if len(grid) >= BUDGET:
        raise InputError(
            f"extra.{label}.grid has {len(grid)} settings; everybody tries {BUDGET - 1} beside the defaults."
        )
    return spec, tuple(dict(one) for one in grid)


def _specs(label: str, entry: Entry) -> list[Spec]:
    return [resolve("algorithm", label, {"name": entry.algorithm, **o}) for o in entry.settings]
