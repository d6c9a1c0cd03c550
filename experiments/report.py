"""Finished results as one HTML page that needs no network.

    python -m experiments.report outputs/coverage_sweep outputs/league docs runs/llm

writes `report.html` into the first folder: answers in sentences, curves to point at, tables that can be
sorted, the data behind each, and the commands that make them again.
"""

import sys

from experiments.common.program import guarded
from experiments.reporting.run import report

if __name__ == "__main__":
    sys.exit(guarded(report))
