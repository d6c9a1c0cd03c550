"""How fast suboptimality falls: on instances that never get easy, and on one that does."""

from experiments.engine.study import Study
from experiments.studies.rates import analysis, cells, figure

STUDY = Study(
    name="rates",
    settings=cells.Settings,
    cells=cells.cells,
    compute=cells.compute,
    columns=cells.COLUMNS,
    report=analysis.report,
    draw=figure.draw,
)
