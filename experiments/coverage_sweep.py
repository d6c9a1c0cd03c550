"""The main job: suboptimality against the number of comparisons and the coverage of the data.

    python -m experiments.coverage_sweep

computes what is not yet in the store, prints a table and writes it, the tidy results and the
figures to `outputs/coverage_sweep`.
"""

from experiments.common.program import launch

if __name__ == "__main__":
    launch("experiments.coverage_sweep", "experiments.studies.sweep.run:coverage_sweep")
