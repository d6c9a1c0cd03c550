"""The headline of a sweep: suboptimality against the number of comparisons, a handful of curves by name.

One coverage large, the others small beside it; every algorithm, the bounds and the axis of coverage have
figures of their own in `multiples`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.common.direct import name_curves
from experiments.common.figure import save
from experiments.common.style import use_style
from experiments.studies.sweep.analysis import coverage_varies, dials_by_coverage, finding
from experiments.studies.sweep.cells import Pictures
from experiments.studies.sweep.curves import (
    REFERENCES,
    draw_curves,
    floor_band,
    floor_of,
    headline_labels,
    where,
)
from experiments.studies.sweep.multiples import Y, against_coverage, bounds, every_algorithm


def figures(curves: pl.DataFrame, options: Pictures) -> dict[str, Figure]:
    """The figures of a sweep by name; those that would show nothing are left out."""
    drawable = curves.filter(pl.col("mean").is_not_null())
    if drawable.is_empty():
        return {}
    labels = headline_labels(drawable, options.algorithms)
    floor = options.floor or floor_of(drawable)
    drawn = {
        "suboptimality_n": against_n(drawable, labels, floor),
        "every_algorithm": every_algorithm(drawable, floor),
        "bounds": bounds(drawable, floor),
        "suboptimality_coverage": against_coverage(drawable, labels, options.n, floor),
    }
    kept = {name: figure for name, figure in drawn.items() if figure is not None}
    if not options.title:
        for figure in kept.values():
            figure.suptitle("")
    return kept


def write_figures(curves: pl.DataFrame, options: Pictures, output: Path) -> list[Path]:
    """Write every figure in every format of `options` and return the files."""
    if not options.formats:
        return []
    return [
        path
        for name, figure in figures(curves, options).items()
        for path in save(figure, output / name, options.formats)
    ]


def against_n(curves: pl.DataFrame, labels: Sequence[str], floor: float) -> Figure:
    """The coverage in the middle large, with names at its curves; up to four others small."""
    dials = dials_by_coverage(curves)
    hero = dials[len(dials) // 2]
    others = [dial for dial in dials if dial != hero]
    small = (
        [others[round(i * (len(others) - 1) / 3)] for i in range(4)] if len(others) > 4 else others
    )
    use_style()
    figure = Figure(figsize=(10.4 if small else 5.6, 4.4), layout="constrained")
    layout: Any = [[f"{hero}", *_pair(small, 0)], [f"{hero}", *_pair(small, 1)]]
    ratios = [2.0, *[1.0] * (len(layout[0]) - 1)]
    panels = figure.subplot_mosaic(layout, width_ratios=ratios, empty_sentinel="")
    for dial in [hero, *small]:
        axes, rows = panels[f"{dial}"], curves.filter(pl.col("dial") == dial)
        axes.set(xscale="log", yscale="log")
        draw_curves(axes, rows, "n", "mean", labels, floor, others=False)
        floor_band(axes, dial == hero, floor)
        axes.set_title(where(rows.row(0, named=True), not coverage_varies(curves)))
        if dial != hero:
            axes.sharey(panels[f"{hero}"])
            axes.tick_params(labelsize=7)
    _frame(panels[f"{hero}"], curves)
    name_curves(panels[f"{hero}"], size=8)
    learners = [label for label in labels if label not in REFERENCES]
    figure.suptitle(finding(curves, learners), fontsize=10.5)
    return figure


def _pair(small: Sequence[float], row: int) -> list[str]:
    """The small panels of one row of the mosaic; `""` is empty."""
    half = -(-len(small) // 2)
    own = [f"{dial}" for dial in small[row * half : (row + 1) * half]]
    return own + [""] * (half - len(own))


def _frame(axes: Axes, curves: pl.DataFrame) -> None:
    """Words and the upper end of the large panel."""
    axes.set(xlabel="comparisons n", ylabel=f"{Y['mean']} J(π*) − J(π)")
    highest = curves["mean"].max()
    if isinstance(highest, float) and highest > axes.get_ylim()[0]:
        axes.set_ylim(top=1.5 * highest)
