"""The chart's tables."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

from experiments.common.files import write_atomically, write_json, write_text
from experiments.common.provenance import made
from llm.comparison.grid import Grid, cells_of
from llm.comparison.setting import BANDIT, SFT, TITLES, Cell, Chosen, Result, Setting

OTHERS = {
    "best_suboptimality": "best round",
    "mixture_suboptimality": "mixture",
    "kl": "KL",
    "misled": "mass k = 3",
}
BUDGET = {"steps": "gradient steps", "samples": "samples drawn", "labels": "labels asked for"}


def write(
    root: Path,
    grid: Grid,
    tuning: list[Result],
    found: list[Result],
    ablated: list[Result],
    chosen: Chosen,
    titles: dict[str, str],
) -> None:
    """Store the results, the tables and the figure of what is finished."""
    from llm.comparison.figure import draw

    picked = {
        language: {method: setting.label for method, setting in settings.items()}
        for language, settings in chosen.items()
    }
    record = {
        "tuning": [r.record() for r in tuning],
        "rows": [r.record() for r in found],
        "ablations": [r.record() for r in ablated],
        "chosen": picked,
        "made": made("torch", "transformers"),
    }
    write_json(root / "chart.json", record)
    chart = Chart(grid, found, chosen, {"sft": TITLES["sft"], **titles, "bandit": TITLES["bandit"]})
    tables = [chart.overview_table(), chart.report_table(), chart.tuning_table(tuning)]
    if ablated:
        tables.append(chart.ablation_table(ablated))
    write_text(root / "chart.md", "\n\n".join(tables) + "\n")
    if found:
        write_atomically(root / "chart.png", lambda path: draw(chart, path))


def pick(
    found: list[Result], cell: Cell, setting: Setting, key: str = "suboptimality"
) -> dict[int, float]:
    """The values of one column by seed."""
    here = [r for r in found if (r.cell, r.setting) == (cell, setting)]
    return {r.seed: value for r in here if (value := getattr(r, key)) is not None}


def grid_table(header: list[str], body: list[list[str]]) -> str:
    """Markdown."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@dataclass(frozen=True)
class Chart:
    """The finished results, what was chosen in tuning, and the methods' titles in their order."""

    grid: Grid
    found: list[Result]
    chosen: Chosen
    titles: dict[str, str]

    @property
    def cells(self) -> list[Cell]:
        """All cells of the grid: `misleads` first, few pairs first, coverage growing along a line."""
        return sorted(
            cells_of(self.grid.cells),
            key=lambda c: (c.language != "misleads", c.language, c.n, c.coverage),
        )

    def shown(self, cell: Cell) -> list[Setting]:
        """The start, the method in focus, the rivals at what was chosen for them, the exact bandit."""
        rivals = self.chosen.get(cell.language, {})
        return [
            SFT,
            self.grid.ours,
            *(rivals[m] for m in self.grid.settings if m in rivals),
            BANDIT,
        ]

    def overview_table(self) -> str:
        """A line a cell: mean ± standard error of each method, and the method in focus less each rival.

        Empty where nothing is finished.
        """
        rivals = list(self.grid.settings)
        body = []
        for cell in self.cells:
            picked = self.chosen.get(cell.language, {})
            line = [cell.words, str(len(pick(self.found, cell, self.grid.ours)) or "")]
            line += [_mean(list(pick(self.found, cell, s).values())) for s in (SFT, self.grid.ours)]
            line += [self._rival(cell, picked.get(m)) for m in rivals]
            body.append([*line, _mean(list(pick(self.found, cell, BANDIT).values()))])
        names = [self.titles[m] for m in ("sft", self.grid.ours.method, *rivals, "bandit")]
        return grid_table(["cell", "seeds", *names], body)

    def _rival(self, cell: Cell, setting: Setting | None) -> str:
        values = pick(self.found, cell, setting) if setting else {}
        if setting is None or not values:
            return ""
        return f"{_mean(list(values.values()))} [{self.versus(self.found, cell, setting)}]"

    def report_table(self) -> str:
        """A line a cell and method: suboptimality, the difference, other columns, and what it spent."""
        body = []
        for cell in self.cells:
            for setting in self.shown(cell):
                values = pick(self.found, cell, setting)
                if not values or setting in (SFT, BANDIT):
                    continue
                line = [cell.words, setting.title(self.titles), str(len(values))]
                line += [_mean(list(values.values())), self.versus(self.found, cell, setting)]
                line += [_plain(pick(self.found, cell, setting, key)) for key in OTHERS]
                line += [_count(pick(self.found, cell, setting, key)) for key in BUDGET]
                body.append(line)
        ours = self.titles[self.grid.ours.method]
        header = ["cell", "method", "seeds", "suboptimality", f"{ours} − it"]
        return grid_table([*header, *OTHERS.values(), *BUDGET.values()], body)

    def tuning_table(self, tuning: list[Result]) -> str:
        """Suboptimality of every setting in every tuning cell; the chosen ones in bold."""
        places = cells_of(self.grid.tuning_cells)
        body = []
        for setting in [SFT, *self.grid.everything, BANDIT]:
            line = [setting.title(self.titles)]
            for cell in places:
                values = list(pick(tuning, cell, setting).values())
                number = f"{values[0]:.3f}" if values else ""
                taken = setting in self.chosen.get(cell.language, {}).values()
                line.append(f"**{number}**" if taken and number else number)
            body.append(line)
        seed = f"tuning, seed {self.grid.tuning_seed}"
        return grid_table([seed, *(cell.words for cell in places)], body)

    def ablation_table(self, ablated: list[Result]) -> str:
        """A line a change of the method in focus; in brackets: the method as it is less the change."""
        assert self.grid.ablations is not None
        places = cells_of(self.grid.ablations.cells)
        named = {"as it is": self.grid.ours, **self.grid.ablated()}
        body = []
        for name, setting in named.items():
            line = [name, setting.words]
            for cell in places:
                text = _mean(list(pick(ablated, cell, setting).values()))
                gap = self.versus(ablated, cell, setting)
                line.append(f"{text} [{gap}]" if text and gap else text)
            body.append(line)
        return grid_table(
            [f"{self.titles[self.grid.ours.method]}", "changed", *(c.words for c in places)], body
        )

    def versus(self, found: list[Result], cell: Cell, other: Setting) -> str:
        """The method in focus less another, by seed: mean ± standard error, how often it is lower."""
        if other == self.grid.ours:
            return ""
        ours, theirs = pick(found, cell, self.grid.ours), pick(found, cell, other)
        gaps = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
        return f"{_mean(gaps)} ({sum(g < 0 for g in gaps)}/{len(gaps)})" if gaps else ""


def _plain(values: dict[int, float]) -> str:
    return f"{statistics.fmean(values.values()):.3f}" if values else ""


def _count(values: dict[int, float]) -> str:
    return f"{statistics.fmean(values.values()):,.0f}" if values else ""


def _mean(values: list[float]) -> str:
    if not values:
        return ""
    mean = f"{statistics.fmean(values):.3f}"
    return f"{mean} ± {statistics.stdev(values) / len(values) ** 0.5:.3f}" if values[1:] else mean
