"""How fast suboptimality falls: on instances that never get easy, and on one that does."""

from experiments.engine.study import Study
from experiments.studies.rates.analysis import report
from experiments.studies.rates.cells import COLUMNS, Settings, cells, compute
from experiments.studies.rates.figure import draw

STUDY = Study("rates", Settings, cells, compute, COLUMNS, report, draw)
