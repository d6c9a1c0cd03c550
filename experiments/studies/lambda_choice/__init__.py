"""Suboptimality against `λ`, and where the theorem's `λ*` falls."""

from experiments.engine.study import Study
from experiments.studies.lambda_choice import analysis, cells, figure

STUDY = Study.of("lambda_choice", cells, analysis, figure)
