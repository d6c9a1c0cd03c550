"""What this package claims, each as a function that runs the check and says what it found.

Every function takes `full` (False: minutes; True: the whole measurement) and returns whether the
claim holds and one line with the figure.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

Result = tuple[bool, str]


def _settings(*overrides: str) -> dict[str, Any]:
    from typing import cast

    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from llm.run import CONFIG

    with initialize_config_dir(CONFIG, version_base="1.3"):
        config = compose("run", list(overrides))
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))


def kills_change_nothing(full: bool = False) -> Result:
    """A run killed by SIGKILL at random moments ends with the same manifest, rows and loss."""
    from llm.killing import kill_and_compare

    with tempfile.TemporaryDirectory() as folder:
        outcome = kill_and_compare(Path(folder), kills=24 if full else 2, seed=0)
    enough = outcome.kills >= (20 if full else 1)
    line = (
        f"{outcome.kills} kills, same manifest {outcome.same_manifest}, same rows "
        f"{outcome.same_rows}, loss difference {outcome.loss_difference:.1e}"
    )
    return outcome.holds and enough, line


def spac_beats_rivals_where_extrapolation_misleads(full: bool = False) -> Result:
    """SPAC has the least suboptimality where extrapolation misleads.

    On `misleads` at coverage 0.1, n = 3000, λ = 3, SPAC's last iterate has the least mean
    suboptimality of SPAC, DPO, moving-reference DPO and SPIN (full: 5 seeds; small: 1).
    """
    from llm.chart import RIVALS, cell, collect

    with tempfile.TemporaryDirectory() as folder:
        values = _settings()
        for seed in range(5 if full else 1):
            cell(values, Path(folder), 0.1, 3000, seed, [3.0])
        rows = collect(Path(folder))
    means = {
        method: _mean([r["suboptimality"] for r in rows if r["method"] == method])
        for method in (*RIVALS, "spac-3")
    }
    holds = means["spac-3"] == min(means.values())
    return holds, ", ".join(f"{method} {value:.3f}" for method, value in means.items())


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


CLAIMS = (kills_change_nothing, spac_beats_rivals_where_extrapolation_misleads)
