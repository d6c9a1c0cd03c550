"""The command lines of `experiments.figures` and `experiments.sweeps`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from experiments.common.table import make_console, show_paths
from experiments.results.paper import write
from experiments.studies.sweep import again
from experiments.studies.sweep.run import coverage_sweep


def _parser(program: str, words: str) -> argparse.ArgumentParser:
    plain = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(
        prog=f"python -m {program}", description=words, formatter_class=plain
    )


def figures(help_text: str, words: Sequence[str] | None = None) -> bool:
    """Draw the figures of a folder, and say where they are."""
    parser = _parser("experiments.figures", help_text)
    parser.add_argument("folder", metavar="DIR", type=Path, help="output of a sweep or study")
    parser.add_argument(
        "--width", choices=["one", "two"], default="one", help="columns of a paper, for a sweep"
    )
    parser.add_argument("--formats", default="pdf,png", help="of pdf, png, svg, pgf")
    parser.add_argument("--no-title", action="store_true", help="leave titles out")
    parser.add_argument("--floor", type=float, default=None, help="where logarithmic axes end")
    parser.add_argument(
        "--cell", default="", help="ALGORITHM,DIAL,N,SEED: reward, data and policy of one cell"
    )
    show_paths(write(**vars(parser.parse_args(words))), make_console())
    return True


def sweeps(help_text: str, words: Sequence[str] | None = None) -> bool:
    """Status, retry or reproduce; False where something is missing, failed or different."""
    parser = _parser("experiments.sweeps", help_text)
    parser.add_argument("what", choices=["status", "retry", "reproduce"])
    parser.add_argument("folder", metavar="DIR", type=Path, help="a sweep's output folder")
    parser.add_argument("row", metavar="ROW", type=int, nargs="?", help="a row of results.parquet")
    parser.add_argument("--processes", type=int, default=0, help="worker processes of reproduce")
    given = parser.parse_args(words)
    if given.what == "status":
        found = again.status(given.folder)
        print("\n".join(found.lines()))
        return not found.failed + found.missing
    if given.what == "retry":
        return bool(coverage_sweep(again.recorded(given.folder)["configuration"], given.folder))
    return again.reproduce(given.folder, given.row, make_console(), given.processes)
