"""Suboptimality against `λ`, and where the theorem's `λ*` falls."""

from experiments.engine.study import Study
from experiments.studies.lambda_choice.analysis import report
from experiments.studies.lambda_choice.cells import COLUMNS, Settings, cells, compute
from experiments.studies.lambda_choice.figure import draw

STUDY = Study("lambda_choice", Settings, cells, compute, COLUMNS, report, draw)
