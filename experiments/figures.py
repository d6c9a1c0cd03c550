"""The figures of finished results, for a paper.

    python -m experiments.figures outputs/coverage_sweep --width one --formats pdf,svg
    python -m experiments.figures outputs/coverage_sweep --cell spac_sqrt_n,0.1,10000,0
    python -m experiments.figures outputs/rates --no-title

writes into `DIR/figures`. Fonts are embedded in PDF; SVG keeps words as words; PGF needs a TeX (xelatex).
"""

import argparse
import sys
from pathlib import Path

from experiments.common.program import guarded


def run() -> bool:
    """Read the command line, draw, say where."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.figures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder", metavar="DIR", type=Path, help="output folder of a sweep or study"
    )
    parser.add_argument(
        "--width",
        choices=["one", "two"],
        default="one",
        help="columns of a paper, for a sweep's figures",
    )
    parser.add_argument("--formats", default="pdf,png", help="of pdf, png, svg, pgf")
    parser.add_argument("--no-title", action="store_true", help="leave titles of figures out")
    parser.add_argument("--floor", type=float, default=None, help="where logarithmic axes end")
    parser.add_argument(
        "--cell", default="", help="ALGORITHM,DIAL,N,SEED: reward, data and policy of one cell"
    )
    given = parser.parse_args()
    from experiments.common.table import make_console, show_paths
    from experiments.results.paper import write

    show_paths(write(**vars(given)), make_console())
    return True


if __name__ == "__main__":
    sys.exit(guarded(run))
