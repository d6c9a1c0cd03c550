"""How often the theorem fails on random realizable instances, and how loose it is."""

from experiments.engine.study import Study
from experiments.studies.violations.analysis import report
from experiments.studies.violations.cells import COLUMNS, Settings, cells, compute
from experiments.studies.violations.figure import draw

STUDY = Study("violations", Settings, cells, compute, COLUMNS, report, draw)
