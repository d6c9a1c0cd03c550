"""`python -m llm.league`: every method on a synthetic language, and whether the bandit's order carries over.

A chart (:mod:`llm.chart`) without a method in focus: every method is tried at the same number of settings on
one tuning seed, and the best of them is run on other seeds, in every cell. What each is given stands beside
its value: methods that ask the judge get more than the data. The grid is `conf/llm/league.yaml`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.common.program import launch
from llm.chart import Chart, play, titles
from llm.comparison.carried import Bandit
from llm.run import CONFIG


class League(Chart):
    """The jobs of a chart; the page is a league's."""

    page, focused = "league.md", False

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
    return play(League, values)


def main() -> None:
    """The command line."""
    launch("llm.league", "llm.league:execute", folder=CONFIG, config="league")


if __name__ == "__main__":
    main()
