"""SPAC-T's duality gap against its number of rounds, beside Hedge's bound."""

from experiments.engine.study import Study
from experiments.studies.optimisation import analysis, cells, figure

STUDY = Study.of("optimisation", cells, analysis, figure)
