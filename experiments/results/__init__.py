"""Results in a notebook: load, curves, axes.

    from experiments.results import curves, load, plot

    rows = load("outputs/coverage_sweep")  # polars, a line a fit
    lines = curves(rows)                   # polars, a line a (dial, n, algorithm), with intervals
    axes = plot(lines, dial=0.2)           # matplotlib, at the size of a column of a paper

`plot` draws into `ax` if given one, imports no backend and sets nothing but what it draws;
`table(lines, dial)` has `.markdown()` and `.latex()`; `caption(lines)` says what is shown;
`heatmap(cell(folder, ...))` shows reward, data and learned policy of one cell.
"""

from experiments.results.axes import PAPER, caption, plot
from experiments.results.cells import Cell, cell, heatmap
from experiments.results.reading import curves, load, table

__all__ = ["PAPER", "Cell", "caption", "cell", "curves", "heatmap", "load", "plot", "table"]
