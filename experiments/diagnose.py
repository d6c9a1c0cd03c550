"""What your own preference data can support: every offline algorithm, and how far to trust each.

    python -m experiments.diagnose data=log.parquet

needs no true reward. It prints how the comparisons cover each learned policy and what the theory
certifies of it, and writes the policies.
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from experiments.common.choices import refuse_unknown_choices
from experiments.common.program import CONFIGURATION, run_program


@hydra.main(version_base="1.3", config_path=CONFIGURATION, config_name="diagnose")
def main(config: DictConfig) -> None:
    """Entry point; the work is imported late, so that `--help` and tab completion are quick."""
    from experiments.studies.diagnosis.run import diagnose

    run_program(diagnose, config)


if __name__ == "__main__":
    refuse_unknown_choices()
    main()
