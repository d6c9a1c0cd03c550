"""Suboptimality against `λ`, and where the theorem's `λ*` falls."""

from experiments.engine.study import Study
from experiments.studies.lambda_choice import analysis, cells, figure

STUDY = Study(
    name="lambda_choice",
    settings=cells.Settings,
    cells=cells.cells,
    compute=cells.compute,
    columns=cells.COLUMNS,
    report=analysis.report,
    draw=figure.draw,
)
