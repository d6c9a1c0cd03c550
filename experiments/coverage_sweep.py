"""The main job: suboptimality against the number of comparisons and the coverage of the data.

    python -m experiments.coverage_sweep

computes what is not yet in the store, prints a table and writes it, the tidy results and the
figures to `outputs/coverage_sweep`.
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from experiments.common.choices import refuse_unknown_choices
from experiments.common.program import CONFIGURATION, run_program


@hydra.main(version_base="1.3", config_path=CONFIGURATION, config_name="coverage_sweep")
def main(config: DictConfig) -> None:
    """Entry point; the work is imported late, so that `--help` and tab completion are quick."""
    from experiments.studies.sweep.run import coverage_sweep

    run_program(coverage_sweep, config)


if __name__ == "__main__":
    refuse_unknown_choices()
    main()
