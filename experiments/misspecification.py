"""What SPAC loses when the class misses the true reward by `ε`, and what the theory allows.

python -m experiments.misspecification
"""

from experiments.common.program import launch

if __name__ == "__main__":
    launch("experiments.misspecification", "experiments.studies.misspecification:STUDY")
