"""What a chart compares: cells, settings of methods, and the rows that runs leave behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SYMBOLS = {
    "beta": "β",
    "lam": "λ",
    "tau": "τ",
    "eta": "η",
    "gamma": "γ",
    "samples": "K",
    "train.learning_rate": "rate",
    "critic_decay": "critic's decay",
    "fit_decay": "fits' decay",
}
SPENT = ("steps", "samples", "labels", "pairs")
NUMBERS = (
    "suboptimality",
    "best_suboptimality",
    "mixture_suboptimality",
    "kl",
    "misled",
    "value",
    *SPENT,
)
Changes = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, order=True)
class Cell:
    """One problem: a language, its coverage, and the number of pairs."""

    language: str
    coverage: float
    n: int

    def folder(self, root: Path, seed: int) -> Path:
        """Where the run of this cell at `seed` lives."""
        return root / f"{self.language}-coverage-{self.coverage:g}-n-{self.n}-seed-{seed}"

    @property
    def words(self) -> str:
        """For tables and figures."""
        return f"{self.language}, coverage {self.coverage:g}, n = {self.n}"


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Setting:
    """A method with some options changed; `train.learning_rate` reaches into its `train`."""

    method: str
    changes: Changes = ()

    @classmethod
    def of(cls, method: str, changes: Mapping[str, Any]) -> Setting:
        """From a mapping of options."""
        return cls(method, tuple(changes.items()))

    @property
    def label(self) -> str:
        """The name under which its run is stored, such as `spac lam=3`."""
        return " ".join([self.method, *(f"{k}={_shown(v)}" for k, v in self.changes)])

    def title(self, titles: Mapping[str, str]) -> str:
        """A readable name: `SPAC, λ = 3`."""
        name = titles.get(self.method, self.method)
        return ", ".join([name, self.words] if self.changes else [name])

    @property
    def words(self) -> str:
        """What is changed: `λ = 3, rate = 0.003`."""
        return ", ".join(f"{SYMBOLS.get(k, k)} = {_shown(v)}" for k, v in self.changes)

    def options(self, methods: Mapping[str, Any]) -> dict[str, Any]:
        """The options of the method with these changed."""
        options = {"name": self.method, **methods[self.method]}
        for key, value in self.changes:
            group, _, name = key.rpartition(".")
            if group:
                options[group] = {**(options.get(group) or {}), name: value}
            else:
                options[key] = value
        return options


SFT, BANDIT = Setting("sft"), Setting("bandit")
TITLES = {"sft": "SFT", "bandit": "exact SPAC, told k"}


@dataclass(frozen=True)
class Result:
    """The numbers of one setting on one cell and seed; those of the exact bandit are one number."""

    cell: Cell
    seed: int
    setting: Setting
    suboptimality: float
    best_suboptimality: float | None = None
    mixture_suboptimality: float | None = None
    kl: float | None = None
    misled: float | None = None
    value: float | None = None
    steps: int | None = None
    samples: int | None = None
    labels: int | None = None
    pairs: int | None = None

    @classmethod
    def of(
        cls, cell: Cell, seed: int, setting: Setting, rounds: Sequence[Mapping[str, Any]]
    ) -> Result:
        """The last round's numbers, and the best suboptimality; what a method did not ask for is 0."""
        best = min(r["suboptimality"] for r in rounds)
        spent = {} if setting in (SFT, BANDIT) else dict.fromkeys(SPENT, 0)
        last = {**spent, **rounds[-1], "best_suboptimality": best}
        return cls(cell, seed, setting, **{name: last.get(name) for name in NUMBERS})  # type: ignore[arg-type]

    def record(self) -> dict[str, Any]:
        """Flat, for a file."""
        numbers = {name: getattr(self, name) for name in NUMBERS}
        where = {"seed": self.seed, "method": self.setting.method, "setting": self.setting.label}
        return {**vars(self.cell), **where, **numbers}


Chosen = dict[str, dict[str, Setting]]  # language -> method -> the setting that is reported
