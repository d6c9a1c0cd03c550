"""What SPAC loses when no reward of the class is the true one."""

from experiments.engine.study import Study
from experiments.studies.misspecification import analysis, cells, figure

STUDY = Study.of("misspecification", cells, analysis, figure)
