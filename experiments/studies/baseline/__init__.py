"""Which baseline `ν`: it moves `C(π*)` and with it what the critic may claim."""

from experiments.engine.study import Study
from experiments.studies.baseline import analysis, cells, figure

STUDY = Study.of("baseline", cells, analysis, figure)
