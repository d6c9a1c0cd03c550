"""SPAC-T's duality gap against its number of rounds, beside Hedge's bound."""

from experiments.engine.study import Study
from experiments.studies.optimisation.analysis import report
from experiments.studies.optimisation.cells import COLUMNS, Settings, cells, compute
from experiments.studies.optimisation.figure import draw

STUDY = Study("optimisation", Settings, cells, compute, COLUMNS, report, draw)
