"""What SPAC loses when no reward of the class is the true one."""

from experiments.engine.study import Study
from experiments.studies.misspecification import analysis, cells, figure

STUDY = Study(
    name="misspecification",
    settings=cells.Settings,
    cells=cells.cells,
    compute=cells.compute,
    columns=cells.COLUMNS,
    report=analysis.report,
    draw=figure.draw,
)
