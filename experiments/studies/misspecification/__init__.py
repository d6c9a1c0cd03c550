"""What SPAC loses when no reward of the class is the true one."""

from experiments.engine.study import Study
from experiments.studies.misspecification.analysis import report
from experiments.studies.misspecification.cells import COLUMNS, Settings, cells, compute
from experiments.studies.misspecification.figure import draw

STUDY = Study("misspecification", Settings, cells, compute, COLUMNS, report, draw)
