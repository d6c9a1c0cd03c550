"""The figures of finished results, for a paper.

    python -m experiments.figures outputs/coverage_sweep --width one --formats pdf,svg
    python -m experiments.figures outputs/coverage_sweep --cell spac_sqrt_n,0.1,10000,0
    python -m experiments.figures outputs/rates --no-title

writes into `DIR/figures`. Fonts are embedded in PDF; SVG keeps words as words; PGF needs a TeX (xelatex).
"""

import sys

from experiments.common.program import guarded
from experiments.results.commands import figures

if __name__ == "__main__":
    sys.exit(guarded(lambda: figures(str(__doc__))))
