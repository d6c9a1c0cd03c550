"""Finished results as one HTML page that needs no network.

    python -m experiments.report outputs/coverage_sweep outputs/league

writes `report.html` into the first folder: answers in sentences, figures, tables that can be sorted, the
data behind each, and the commands that make them again.
"""

import sys

from experiments.common.program import guarded
from experiments.reporting.run import report

if __name__ == "__main__":
    sys.exit(guarded(report))
