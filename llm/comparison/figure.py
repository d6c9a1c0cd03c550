"""The chart's figure: a panel a cell, every seed a mark."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.common.figure import made_by
from llm.comparison.setting import BANDIT, Cell

if TYPE_CHECKING:
    from llm.comparison.report import Chart

OURS, THEIRS = "#D55E00", "0.35"


def draw(chart: Chart, path: Path) -> None:
    """A panel for every cell where something is finished: every seed a mark, the mean a bar."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    places = [c for c in chart.cells if any(r.cell == c for r in chart.found)]
    columns = min(len(places), 3)
    lines = -(-len(places) // columns)
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        size = (max(2.6 * columns + 2.0, 6.8), 1.9 * lines + 0.8)  # wide enough for the title
        canvas = Figure(figsize=size, layout="constrained")
        panels = canvas.subplots(lines, columns, sharex=True, squeeze=False).flatten()
        left: list[str] = []
        for number, (axes, cell) in enumerate(zip(panels, places, strict=False)):
            labels = _panel(chart, axes, cell)
            if number % columns and labels == left:
                axes.set_yticklabels([])
            left = labels
        for axes in panels[len(places) :]:
            axes.set_axis_off()
        for axes in panels[max(0, len(places) - columns) : len(places)]:
            axes.tick_params(labelbottom=True)
        panels[0].set_xlim(left=0)
        canvas.supxlabel("suboptimality of the last iterate", fontsize=9)
        ours = chart.titles[chart.grid.ours.method]
        canvas.suptitle(
            f"A mark a seed, none used in tuning; bar: mean. Squares: {ours}, not tuned.\n"
            "Circles: rivals at the best of their settings. Dashed: exact SPAC in the bandit, told k.",
            fontsize=9,
        )
        canvas.savefig(path, format="png", dpi=150, metadata=made_by("png", "chart.json"))


def _panel(chart: Chart, axes: Any, cell: Cell) -> list[str]:
    """Draw one cell; the names of its lines, from the bottom."""
    from llm.comparison.report import pick

    told = pick(chart.found, cell, BANDIT)
    axes.axvline(statistics.fmean(told.values()), color="0.6", ls="--", lw=1)
    shown = [s for s in reversed(chart.shown(cell)) if s != BANDIT and pick(chart.found, cell, s)]
    for i, setting in enumerate(shown):
        values = list(pick(chart.found, cell, setting).values())
        ours = setting == chart.grid.ours
        colour = OURS if ours else THEIRS
        axes.plot(values, [i] * len(values), "s" if ours else "o", ms=4, mfc="none", color=colour)
        axes.plot([statistics.fmean(values)] * 2, [i - 0.35, i + 0.35], color=colour, lw=2)
    labels = [setting.title(chart.titles) for setting in shown]
    axes.set_yticks(range(len(shown)), labels)
    axes.set_title(cell.words, fontsize=8)
    return labels
