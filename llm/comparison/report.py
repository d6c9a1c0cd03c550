"""The chart's table and figure."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.common.figure import made_by
from experiments.common.files import write_atomically, write_json, write_text
from llm.comparison.setting import BANDIT, SFT, TITLES, Cell, Chosen, Result, Setting

OTHERS = {
    "best_suboptimality": "best round",
    "mixture_suboptimality": "mixture",
    "kl": "KL",
    "misled": "mass k = 3",
}


def write(
    root: Path, tuning: list[Result], found: list[Result], chosen: Chosen, titles: dict[str, str]
) -> None:
    """Store the results, the tables and the figure of what is finished."""
    picked = {
        language: {method: vars(setting) for method, setting in settings.items()}
        for language, settings in chosen.items()
    }
    record = {
        "tuning": [r.record() for r in tuning],
        "rows": [r.record() for r in found],
        "chosen": picked,
    }
    write_json(root / "chart.json", record)
    chart = Chart(found, chosen, {"sft": TITLES["sft"], **titles, "bandit": TITLES["bandit"]})
    tables = [chart.tuning_table(tuning), chart.overview_table(), chart.report_table()]
    write_text(root / "chart.md", "\n\n".join(tables) + "\n")
    if found:
        write_atomically(root / "chart.png", chart.draw)


def cells(found: list[Result]) -> list[Cell]:
    """The cells that occur, in order: `misleads` first."""
    return sorted({r.cell for r in found}, key=lambda c: (c.language != "misleads", c))


def pick(
    found: list[Result], cell: Cell, setting: Setting, key: str = "suboptimality"
) -> list[float]:
    """The values of one column over the seeds."""
    here = (r for r in found if (r.cell, r.setting) == (cell, setting))
    return [value for r in here if (value := getattr(r, key)) is not None]


def grid_table(header: list[str], body: list[list[str]]) -> str:
    """Markdown."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@dataclass(frozen=True)
class Chart:
    """The finished results, what was chosen in tuning, and the methods' titles in their order."""

    found: list[Result]
    chosen: Chosen
    titles: dict[str, str]

    def order(self, found: list[Result]) -> list[Setting]:
        """Settings as the tables and the figure show them."""
        rank = list(self.titles)
        return sorted({r.setting for r in found}, key=lambda s: (rank.index(s.method), s.value))

    def tuning_table(self, tuning: list[Result]) -> str:
        """Suboptimality of every setting in every tuning cell; the chosen ones in bold."""
        places = cells(tuning)
        body = []
        for setting in self.order(tuning):
            line = [setting.title(self.titles)]
            for cell in places:
                values = pick(tuning, cell, setting)
                number = f"{values[0]:.3f}" if values else ""
                taken = setting in self.chosen[cell.language].values()
                line.append(f"**{number}**" if taken else number)
            body.append(line)
        return grid_table(["tuning seed", *(cell.words for cell in places)], body)

    def overview_table(self) -> str:
        """A line a cell: mean ± standard error of each method at its chosen setting, SPAC also less it.

        In brackets: the paired difference SPAC − method, and in how many seeds SPAC is lower.
        """
        methods = [m for m in self.titles if m in next(iter(self.chosen.values()))]
        body = []
        for cell in cells(self.found):
            picked = self.chosen[cell.language]
            shown = [SFT, *(picked[m] for m in methods), BANDIT]
            body.append([cell.words, *(self._entry(cell, s, picked) for s in shown)])
        names = [self.titles[m] for m in ("sft", *methods, "bandit")]
        return grid_table(["cell", *names], body)

    def _entry(self, cell: Cell, setting: Setting, picked: dict[str, Setting]) -> str:
        text = _mean(pick(self.found, cell, setting))
        if setting.method not in picked:
            return text
        text = f"{setting.title(self.titles).split(', ')[-1]}: {text}"
        gap = self._versus(cell, picked["spac"], setting)
        return f"{text} [{gap}]" if gap else text

    def report_table(self) -> str:
        """A line a cell and setting: mean and standard error, wins of SPAC over it by seed, the rest."""
        body = []
        for cell in cells(self.found):
            spac = self.chosen[cell.language]["spac"]
            for setting in self.order([r for r in self.found if r.cell == cell]):
                others = [_plain(pick(self.found, cell, setting, key)) for key in OTHERS]
                text = setting.title(self.titles) + (" (chosen)" if setting == spac else "")
                mean = _mean(pick(self.found, cell, setting))
                body.append([cell.words, text, mean, self._versus(cell, spac, setting), *others])
        header = ["cell", "method", "suboptimality", "SPAC − it", *OTHERS.values()]
        return grid_table(header, body)

    def _versus(self, cell: Cell, spac: Setting, other: Setting) -> str:
        """The paired difference: mean ± standard error, and in how many seeds SPAC is lower."""
        if other == spac:
            return ""
        pairs = zip(pick(self.found, cell, spac), pick(self.found, cell, other), strict=True)
        gaps = [a - b for a, b in pairs]
        return f"{_mean(gaps)} ({sum(g < 0 for g in gaps)}/{len(gaps)})"

    def draw(self, path: Path) -> None:
        """A panel a cell: every seed a mark, the mean a bar, a line a setting."""
        import matplotlib as mpl
        from matplotlib.figure import Figure

        places = cells(self.found)
        columns = min(len(places), 4)
        lines = -(-len(places) // columns)
        with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
            canvas = Figure(figsize=(2.3 * columns + 2.0, 2.2 * lines + 0.5), layout="constrained")
            panels = canvas.subplots(lines, columns, sharex=True, squeeze=False).flatten()
            self._panels(panels, places, columns)
            seeds = len({r.seed for r in self.found})
            canvas.supxlabel("suboptimality of the last iterate", fontsize=9)
            canvas.suptitle(
                f"{seeds} seeds, none used in tuning. Bar: mean. Squares: SPAC, filled at the λ "
                "chosen in tuning. Dashed: exact SPAC in the bandit, told k.",
                fontsize=9,
            )
            canvas.savefig(path, format="png", dpi=150, metadata=made_by("png", "chart.json"))

    def _panels(self, panels: Any, places: list[Cell], columns: int) -> None:
        """Draw all cells; names stand where they are not those of the panel to the left."""
        left: list[str] = []
        for number, (axes, cell) in enumerate(zip(panels, places, strict=False)):
            labels = self._panel(axes, cell)
            if number % columns and labels == left:
                axes.set_yticklabels([])
            left = labels
        for axes in panels[len(places) :]:
            axes.set_axis_off()
        for axes in panels[max(0, len(places) - columns) : len(places)]:
            axes.tick_params(labelbottom=True)
        panels[0].set_xlim(left=0)

    def _panel(self, axes: Any, cell: Cell) -> list[str]:
        """Draw one cell; the names of its lines, from the bottom."""
        here = [r for r in self.found if r.cell == cell]
        shown = [s for s in reversed(self.order(here)) if s != BANDIT]
        axes.axvline(statistics.fmean(pick(here, cell, BANDIT)), color="0.6", ls="--", lw=1)
        for i, setting in enumerate(shown):
            values = pick(here, cell, setting)
            ours = setting.method == "spac"
            colour = "#D55E00" if ours else "0.35"
            face = colour if setting == self.chosen[cell.language]["spac"] else "none"
            axes.plot(values, [i] * len(values), "s" if ours else "o", ms=4, mfc=face, color=colour)
            axes.plot([statistics.fmean(values)] * 2, [i - 0.35, i + 0.35], color=colour, lw=2)
        labels = [setting.title(self.titles) for setting in shown]
        axes.set_yticks(range(len(shown)), labels)
        axes.set_title(cell.words, fontsize=8)
        return labels


def _plain(values: list[float]) -> str:
    return f"{statistics.fmean(values):.3f}" if values else ""


def _mean(values: list[float]) -> str:
    spread = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{statistics.fmean(values):.3f} ± {spread:.3f}"
