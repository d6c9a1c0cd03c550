"""How often the theorem fails on random realizable instances, and how loose it is."""

from experiments.engine.study import Study
from experiments.studies.violations import analysis, cells, figure

STUDY = Study.of("violations", cells, analysis, figure)
