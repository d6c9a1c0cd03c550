"""What became of a sweep, and its numbers once more.

    python -m experiments.sweeps status DIR            # done, failed, missing, time left
    python -m experiments.sweeps retry DIR             # what failed or is missing, then the report
    python -m experiments.sweeps reproduce DIR [ROW]   # once more, compared bit by bit

Exit codes: 0 all done (or the same bits), 1 something is missing, failed or different, 2 bad input.
"""

import sys

from experiments.common.program import guarded
from experiments.results.commands import sweeps

if __name__ == "__main__":
    sys.exit(guarded(lambda: sweeps(str(__doc__))))
