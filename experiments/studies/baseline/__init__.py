"""Which baseline `ν`: it moves `C(π*)` and with it what the critic may claim."""

from experiments.engine.study import Study
from experiments.studies.baseline.analysis import report
from experiments.studies.baseline.cells import Settings, cells, compute
from experiments.studies.baseline.figure import draw

STUDY = Study("baseline", Settings, cells, compute, {}, report, draw)
