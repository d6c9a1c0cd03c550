"""Which baseline `ν`: it moves `C(π*)` and with it what the critic may claim.

python -m experiments.baseline
"""

from experiments.common.program import launch

if __name__ == "__main__":
    launch("experiments.baseline", "experiments.studies.baseline:STUDY")
