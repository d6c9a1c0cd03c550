"""Console scripts of a checkout: `spac-sweep` is `python -m experiments.coverage_sweep`, with completion.

    eval "$(spac-sweep -sc install=bash)"   # then TAB completes groups, choices and keys

The wheel holds this library alone, so there a script says where its program lives.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

PROGRAMS = {
    "spac-sweep": "experiments.coverage_sweep",
    "spac-league": "experiments.league",
    "spac-diagnose": "experiments.diagnose",
    "spac-report": "experiments.report",
    "spac-figures": "experiments.figures",
    "spac-sweeps": "experiments.sweeps",
    "spac-rates": "experiments.rates",
    "spac-violations": "experiments.violations",
    "spac-optimisation": "experiments.optimisation",
    "spac-misspecification": "experiments.misspecification",
    "spac-lambda-choice": "experiments.lambda_choice",
    "spac-baseline": "experiments.baseline",
    "spac-llm": "llm.run",
    "spac-llm-plan": "llm.plan",
    "spac-llm-chart": "llm.chart",
}


def main() -> None:
    """Run the program that this script is named after; exit code 2 where its checkout is not here."""
    script = Path(sys.argv[0]).stem
    root = Path(__file__).resolve().parents[1]
    if not (root / "pyproject.toml").is_file():
        told = "runs in a checkout of the laboratory; clone it, and there: pip install -e '.[programs]'."
        print(f"{script} {told}", file=sys.stderr)
        sys.exit(2)
    sys.path.insert(0, str(root))
    runpy.run_module(PROGRAMS[script], run_name="__main__")
