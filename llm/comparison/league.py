"""The league's tables: what every method is worth, what it was given, and what the bandit's league said."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.common.files import write_atomically, write_json, write_text
from experiments.common.provenance import made
from experiments.common.table import plus_minus
from llm.comparison.carried import Bandit, agreement, ranks, reversals
from llm.comparison.grid import Grid
from llm.comparison.report import Chart, grid_table
from llm.comparison.setting import BANDIT, SFT, TITLES, Cell, Chosen, Result
from spac_theory.statistics import student_interval

GIVEN = {
    "pairs": "pairs of the data",
    "labels": "labels asked for",
    "samples": "samples drawn",
    "steps": "gradient steps",
}
MARK = "†"  # of methods that ask for labels
NOTE = (
    f"{MARK}: asks a judge, which knows the true reward, for labels, beside or instead of those of the data: "
    "it is told more, and is to be compared with its like."
)
Place = tuple[Cell, int]


def write(
    root: Path,
    grid: Grid,
    tuning: list[Result],
    found: list[Result],
    chosen: Chosen,
    titles: dict[str, str],
    bandit: Bandit | None,
) -> None:
    """Store the results, the tables and the figure of what every method has finished."""
    from llm.comparison.league_figure import draw

    season = Season(grid, found, chosen, TITLES | titles, bandit)
    picked = {k: {m: s.label for m, s in own.items()} for k, own in chosen.items()}
    rows = {"tuning": [r.record() for r in tuning], "rows": [r.record() for r in found]}
    told = {"chosen": picked, "carried": season.carried(), "made": made("torch", "transformers")}
    write_json(root / "league.json", {**rows, **told})
    parts = [*season.page(), "## Tuning\n", season.tuning_table(tuning)]
    write_text(root / "league.md", "\n\n".join(parts) + "\n")
    if season.places:
        write_atomically(root / "league.png", lambda path: draw(season, path))


@dataclass(frozen=True)
class Season(Chart):
    """A chart without a method in focus, and the bandit's league if there is one."""

    bandit: Bandit | None = None

    @cached_property
    def table(self) -> dict[tuple[str, Cell, int], Result]:
        """The result of each method (`sft` and `bandit` among them), cell and seed."""
        picked = {
            (language, setting): method
            for language, own in self.chosen.items()
            for method, setting in own.items()
        }
        named = [
            (picked.get((r.cell.language, r.setting), r.setting.method), r) for r in self.found
        ]
        known = {*self.grid.settings, SFT.method, BANDIT.method}
        return {(name, r.cell, r.seed): r for name, r in named if name in known}

    @cached_property
    def places(self) -> list[Place]:
        """The cells and seeds that every method has finished."""
        everywhere = [(cell, seed) for cell in self.cells for seed in self.grid.seeds]
        return [p for p in everywhere if all((m, *p) in self.table for m in self.grid.settings)]

    def losses(self, method: str, cells: Sequence[Cell]) -> NDArray[np.float64]:
        """Suboptimality by seed, its mean over these cells, on the seeds that have finished most of them."""
        done = {seed: [c for c in cells if (c, seed) in self.places] for seed in self.grid.seeds}
        most = max(map(len, done.values()))
        seeds = [seed for seed, own in done.items() if own and len(own) == most]
        rows = [[self.table[method, c, seed].suboptimality for c in done[seed]] for seed in seeds]
        return np.array([statistics.fmean(row) for row in rows])

    def best(self, cell: Cell) -> float:
        """`J(π*)`: what the start has and what it lacks."""
        start = next(r for (name, c, _), r in self.table.items() if (name, c) == (SFT.method, cell))
        return start.suboptimality + (start.value or 0.0)

    def values(self, method: str, cells: Sequence[Cell]) -> NDArray[np.float64]:
        """True value by seed, as :meth:`losses`."""
        done = [c for c in cells if any(c == cell for cell, _ in self.places)]
        return statistics.fmean(map(self.best, done)) - self.losses(method, done)

    @cached_property
    def order(self) -> list[str]:
        """The methods, the highest mean value first; those with nothing finished are left out."""
        if not self.places:
            return []
        return sorted(self.grid.settings, key=lambda m: float(self.losses(m, self.cells).mean()))

    def spent(self, method: str, key: str) -> float:
        """The mean over runs of what a method was given."""
        runs = [getattr(self.table[(method, *place)], key) or 0 for place in self.places]
        return statistics.fmean(runs)

    def asks(self, method: str) -> bool:
        """Whether it asks for labels."""
        return self.spent(method, "labels") > 0

    def title(self, method: str) -> str:
        """Its title, marked if it asks for labels."""
        name = self.titles.get(method, method)
        return f"{name} {MARK}" if self.asks(method) else name

    def page(self) -> list[str]:
        """The report in Markdown, in parts."""
        if not self.places:
            return ["# The league of the language", "Nothing is finished by every method yet."]
        runs = f"{len(self.places)} of {len(self.cells) * len(self.grid.seeds)} cells and seeds are finished."
        told = (
            "True value `J(π)` of the last iterate; ± is Student's 95 % interval over seeds, none used "
            "in tuning. Sorted by the mean over cells."
        )
        parts = ["# The league of the language", f"{runs} {told}\n\n{NOTE}", self.values_table()]
        parts += ["## What each was given, a run", self.given_table()]
        return parts + (self.bandit_page() if self.bandit else [])

    def values_table(self) -> str:
        """A line a method: the mean over cells, and every cell."""
        body = [
            [self.title(name), *self._line(name)]
            for name in (*self.order, SFT.method, BANDIT.method)
            if all((name, *place) in self.table for place in self.places)
        ]
        for line, name in zip(body[len(self.order) :], (SFT, BANDIT), strict=False):
            line[0] = TITLES[name.method]
        shown = [f"{c.language} {c.coverage:g}" for c in self._shown()]
        return grid_table(["method", "all cells", *shown], body)

    def _shown(self) -> list[Cell]:
        return [c for c in self.cells if any(c == cell for cell, _ in self.places)]

    def _line(self, name: str) -> list[str]:
        return [
            _spread(self.values(name, cells))
            for cells in (self.cells, *([c] for c in self._shown()))
        ]

    def given_table(self) -> str:
        """A line a method: its settings, and all it was given."""
        languages = list(self.chosen)
        body = []
        for name in self.order:
            picked = [self.chosen[k][name].words or "as it is" for k in languages]
            body.append(
                [self.title(name), *picked, *(f"{self.spent(name, k):,.0f}" for k in GIVEN)]
            )
        return grid_table(["method", *languages, *GIVEN.values()], body)

    def here(self, cells: Sequence[Cell]) -> dict[str, NDArray[np.float64]]:
        """The losses of all methods in these cells."""
        return {name: self.losses(name, cells) for name in self.order}

    def carried(self) -> dict[str, dict[str, float]]:
        """Kendall's tau, of all cells and of each, of all methods and of those with the data alone."""
        if self.bandit is None or not self.places:
            return {}
        found = {}
        for words, cells, coverage in [("all cells", self.cells, None)] + [
            (f"{c.language} {c.coverage:g}", [c], c.coverage) for c in self._shown()
        ]:  # fmt: skip
            for group, kept in (("", self.order), (" (the data alone)", self._unaided())):
                losses = {name: self.losses(name, cells) for name in kept}
                both = agreement(losses, self.bandit.losses(kept, coverage))
                if both is not None:
                    ends = {"low": both.seeds.low, "high": both.seeds.high}
                    told = {"methods": both.methods, "tau": both.tau, "chance": both.chance}
                    found[words + group] = {**told, "seeds": both.seeds.estimate, **ends}
        return found

    def _unaided(self) -> list[str]:
        bandit = self.bandit
        return [m for m in self.order if not self.asks(m) and not (bandit and bandit.queries(m))]

    def bandit_page(self) -> list[str]:
        """Ranks here and there, whether the order carries over, and who changed places."""
        assert self.bandit is not None
        here, there = self.here(self.cells), self.bandit.losses(self.order)
        both = {name: losses for name, losses in here.items() if name in there}
        ours, theirs = ranks(both), ranks({name: there[name] for name in both})
        body = []
        for name in both:
            mean = f"{there[name].mean():.3f}"
            asked = f"{self.bandit.queries(name):,}"
            places = [f"{ours[name]:.0f}", f"{theirs[name]:.0f}"]
            body.append([self.title(name), self.bandit.twin(name), *places, mean, asked])
        header = [
            "method",
            "there",
            "rank here",
            "rank there",
            "suboptimality there",
            "labels there",
        ]
        return [
            "## Beside the bandit's league",
            "Ranks among the methods that both have: the mean over all cells of each league, tuned.",
            grid_table(header, body),
            self._tau_table(),
            self._reversed(both, there),
        ]

    def _tau_table(self) -> str:
        body = []
        for words, found in self.carried().items():
            half = (found["high"] - found["low"]) / 2
            each = plus_minus(found["seeds"], half, 2)
            chance = f"{found['chance']:.2g}"
            body.append([words, f"{found['methods']}", f"{found['tau']:.2f}", chance, each])
        header = [
            "order of",
            "methods",
            "Kendall's τ of the means",
            "chance of it",
            "mean τ of the seeds",
        ]
        return grid_table(header, body)

    def _reversed(
        self, here: dict[str, NDArray[np.float64]], there: dict[str, NDArray[np.float64]]
    ) -> str:
        """One line a method that is better here than others that are better there."""
        lines = [
            f"- {self.title(a)} is better here, and worse there, than {', '.join(map(self.title, losers))}"
            for a, losers in reversals(here, there).items()
        ]
        told = (
            "Pairs whose order is clear in both leagues (95 % intervals of the paired differences) and not "
            "the same:"
        )
        return "\n".join([told, "", *lines]) if lines else f"{told} none."


def _spread(values: NDArray[np.float64]) -> str:
    interval = student_interval(values)
    return plus_minus(interval.estimate, interval.half_width, 3)
