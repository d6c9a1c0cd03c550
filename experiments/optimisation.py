"""SPAC-T's duality gap against its number of rounds, beside Hedge's bound.

python -m experiments.optimisation
"""

from experiments.common.program import launch

if __name__ == "__main__":
    launch("experiments.optimisation", "experiments.studies.optimisation:STUDY")
