"""`python -m llm.chart`: SPAC-T, untuned, beside its rivals, each at the best of as many settings.

Every rival is tried at the same number of settings on one tuning seed; the best of them (by true value:
an oracle's choice) is then run on other seeds, which alone are reported. The method in focus runs as its
YAML has it. Every cell (language, coverage, n, seed) is a run directory of the pipeline, so the chart resumes
like one; the fine-tuned start is shared by all cells of one coverage and seed. The grid is
`conf/llm/chart.yaml`, or that of all methods without one in focus, `--config-name league`.
"""

from __future__ import annotations

import statistics
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from experiments.common.program import launch
from llm.comparison.carried import Bandit
from llm.comparison.cells import Clock, collect, run_cell, stored
from llm.comparison.grid import Grid, cells_of, check
from llm.comparison.setting import Cell, Chosen, Result, Setting
from llm.files.failures import Diverged
from llm.recipes import settled
from llm.run import CONFIG, quiet

Job = tuple[Cell, int, list[Setting]]


def choose(results: list[Result], grid: Grid, language: str) -> dict[str, Setting]:
    """The setting a rival with the least mean suboptimality over the tuning cells of a language."""

    def mean(setting: Setting) -> float:
        return statistics.fmean(
            r.suboptimality for r in results if (r.cell.language, r.setting) == (language, setting)
        )

    return {method: min(grid.tried(method), key=mean) for method in grid.settings}


def titles(values: dict[str, Any]) -> dict[str, str]:
    """How each method is called in tables and figures."""
    return {name: options.get("title") or name for name, options in values["methods"].items()}


class Chart:
    """The jobs of a grid in the order in which they decide something, and what is finished of them."""

    page = "chart.md"

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = settled(values)
        self.grid = check(self.values.pop("chart"), list(self.values["methods"]))
        self.root = Path(self.values["run_dir"])
        self.cells = cells_of(self.grid.cells)
        self.tuning_cells = cells_of(self.grid.tuning_cells)
        self.languages = list(dict.fromkeys(c.language for c in self.cells))
        self.chosen: Chosen = {}
        self.clock = Clock(self.expected())

    def expected(self) -> dict[str, int]:
        """Runs that are not done yet, by method; of a rival that is not chosen yet, one a cell and seed."""
        grid, count = self.grid, Counter[str]()
        jobs: list[Job] = [(c, grid.tuning_seed, grid.everything) for c in self.tuning_cells]
        jobs += self.ablations()
        for cell in self.cells:
            for seed in grid.seeds:
                jobs.append((cell, seed, grid.untuned))
                done = {label.split(" ")[0] for label in stored(cell.folder(self.root, seed))}
                count.update(m for m in grid.settings if m not in done)
        for cell, seed, settings in jobs:
            done = set(stored(cell.folder(self.root, seed)))
            count.update(s.method for s in settings if s.label not in done)
        return dict(count)

    def ablations(self) -> list[Job]:
        """The named changes of the method in focus, it beside them."""
        own, grid = self.grid.ablations, self.grid
        if own is None:
            return []
        tried = [grid.ours, *grid.ablated().values()]
        return [(cell, seed, tried) for seed in own.seeds for cell in cells_of(own.cells)]

    def run(self, cell: Cell, seed: int, settings: list[Setting]) -> None:
        """One job, and the page of what is finished."""
        run_cell(self.values, self.root, cell, seed, settings, self.clock)
        self.write()

    def tune(self, language: str) -> None:
        """All settings of all rivals on the tuning seed, in the tuning cells of a language."""
        for cell in self.tuning_cells:
            if cell.language == language:
                self.run(cell, self.grid.tuning_seed, self.grid.everything)
        found = collect(self.root, self.tuning_cells, [self.grid.tuning_seed], self.grid.everything)
        self.chosen[language] = choose(found, self.grid, language)

    def finished(self) -> tuple[list[Result], list[Result]]:
        """What tuning found, and what is reported so far."""
        grid, picked = self.grid, [s for own in self.chosen.values() for s in own.values()]
        tuning = collect(self.root, self.tuning_cells, [grid.tuning_seed], grid.everything)
        return tuning, collect(self.root, self.cells, grid.seeds, [*grid.untuned, *picked])

    def write(self) -> None:
        """The tables and the figure of what is finished."""
        from llm.comparison.report import write

        grid, (tuning, found) = self.grid, self.finished()
        own, ablated = grid.ablations, list[Result]()
        if own is not None:
            tried = [grid.ours, *grid.ablated().values()]
            ablated = collect(self.root, cells_of(own.cells), own.seeds, tried)
        write(self.root, grid, tuning, found, ablated, self.chosen, titles(self.values))

    def __call__(self) -> None:
        """Seed by seed, cell by cell; a language is tuned when its first cell comes."""
        for seed in self.grid.seeds:
            for cell in self.cells:
                if self.grid.untuned:
                    self.run(cell, seed, self.grid.untuned)
                if cell.language not in self.chosen:
                    self.tune(cell.language)
                self.run(cell, seed, list(self.chosen[cell.language].values()))
        for job in self.ablations():
            self.run(*job)
        print((self.root / self.page).read_text(encoding="utf-8"))


class League(Chart):
    """A chart without a method in focus: all are tuned alike, and the bandit's order stands beside theirs."""

    page = "league.md"

    def __init__(self, values: dict[str, Any]) -> None:
        place = values.get("bandit_league")
        super().__init__({k: v for k, v in values.items() if k != "bandit_league"})
        self.bandit = None if place is None else Bandit.read(str(place), self.grid.twins)

    def write(self) -> None:
        """The tables and the figure of what is finished."""
        from llm.comparison.league import write

        tuning, found = self.finished()
        named = titles(self.values)
        write(self.root, self.grid, tuning, found, self.chosen, named, self.bandit)


def execute(values: dict[str, Any], output: Path | None = None) -> bool:
    """Tune, run the grid, and draw what is finished after every cell; False where training diverged."""
    quiet()
    chart = (League if values["chart"].get("focus") is None else Chart)(values)
    try:
        chart()
    except Diverged as error:
        print(error, file=sys.stderr)
        return False
    return True


def main() -> None:
    """The command line."""
    launch("llm.chart", "llm.chart:execute", folder=CONFIG, config="chart")


if __name__ == "__main__":
    main()
