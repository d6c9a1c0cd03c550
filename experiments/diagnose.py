"""What your own preference data can support: every offline algorithm, and how far to trust each.

    python -m experiments.diagnose data=log.parquet

needs no true reward. It prints how the comparisons cover each learned policy and what the theory
certifies of it, and writes the policies.
"""

from experiments.common.program import launch

if __name__ == "__main__":
    launch("experiments.diagnose", "experiments.studies.diagnosis.run:diagnose")
