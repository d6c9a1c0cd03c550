"""What a chart compares: cells, settings of methods, and the rows that runs leave behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SYMBOLS = {"beta": "β", "lam": "λ", "tau": "τ", "eta": "η", "gamma": "γ"}
NUMBERS = ("suboptimality", "best_suboptimality", "mixture_suboptimality", "kl", "misled")


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


@dataclass(frozen=True)
class Setting:
    """A method at one value of one option, or (`option` None) as it is."""

    method: str
    option: str | None = None
    value: float = 0.0

    @property
    def label(self) -> str:
        """The name under which its run is stored, such as `spac lam=3`."""
        return self.method if self.option is None else f"{self.method} {self.option}={self.value:g}"

    def title(self, titles: Mapping[str, str]) -> str:
        """A readable name: `SPAC, λ = 3`."""
        name = titles.get(self.method, self.method)
        if self.option is None:
            return name
        return f"{name}, {SYMBOLS.get(self.option, self.option)} = {self.value:g}"

    def options(self, methods: Mapping[str, Any]) -> dict[str, Any]:
        """The options of the method with this one changed."""
        changed = {} if self.option is None else {self.option: self.value}
        return {"name": self.method, **methods[self.method], **changed}


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

    @classmethod
    def of(
        cls, cell: Cell, seed: int, setting: Setting, rounds: Sequence[Mapping[str, Any]]
    ) -> Result:
        """The last round's numbers, and the best round's suboptimality."""
        best = min(r["suboptimality"] for r in rounds)
        last = {**rounds[-1], "best_suboptimality": best}
        return cls(cell, seed, setting, **{name: last[name] for name in NUMBERS})

    def record(self) -> dict[str, Any]:
        """Flat, for a file."""
        values = asdict(self)
        cell, setting = values.pop("cell"), values.pop("setting")
        return {**cell, **setting, **values}


Chosen = dict[str, dict[str, Setting]]  # language -> method -> the setting chosen in tuning
