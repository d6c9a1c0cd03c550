"""What became of a sweep, and its numbers once more.

    python -m experiments.sweeps status DIR            # done, failed, missing, time left
    python -m experiments.sweeps retry DIR             # what failed or is missing, then the report
    python -m experiments.sweeps reproduce DIR [ROW]   # once more, compared bit by bit

Exit codes: 0 all done (or the same bits), 1 something is missing, failed or different, 2 bad input.
"""

import argparse
import sys
from pathlib import Path

from experiments.common.program import guarded


def run() -> bool:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.sweeps",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=["status", "retry", "reproduce"])
    parser.add_argument("folder", metavar="DIR", type=Path, help="a sweep's output folder")
    parser.add_argument("row", metavar="ROW", type=int, nargs="?", help="a row of results.parquet")
    parser.add_argument("--processes", type=int, default=0, help="worker processes of reproduce")
    given = parser.parse_args()
    from experiments.common.table import make_console
    from experiments.studies.sweep import again
    from experiments.studies.sweep.run import coverage_sweep

    if given.what == "status":
        found = again.status(given.folder)
        print("\n".join(found.lines()))
        return not found.failed + found.missing
    if given.what == "retry":
        return bool(coverage_sweep(again.recorded(given.folder)["configuration"], given.folder))
    return again.reproduce(given.folder, given.row, make_console(), given.processes)


if __name__ == "__main__":
    sys.exit(guarded(run))
