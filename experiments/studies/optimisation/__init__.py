"""SPAC-T's duality gap against its number of rounds, beside Hedge's bound."""

from experiments.engine.study import Study
from experiments.studies.optimisation import analysis, cells, figure

STUDY = Study(
    name="optimisation",
    settings=cells.Settings,
    cells=cells.cells,
    compute=cells.compute,
    columns=cells.COLUMNS,
    report=analysis.report,
    draw=figure.draw,
)
