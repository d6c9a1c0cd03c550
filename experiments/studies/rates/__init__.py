"""How fast suboptimality falls: on instances that never get easy, and on one that does."""

from experiments.engine.study import Study
from experiments.studies.rates import analysis, cells, figure

STUDY = Study.of("rates", cells, analysis, figure)
