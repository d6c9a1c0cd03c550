"""From folders to one file; `experiments.report` is its program."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from experiments.common.files import write_text
from experiments.common.provenance import made
from experiments.common.table import make_console, show_paths
from experiments.reporting.comparison import comparison
from experiments.reporting.html import element, page, wrap
from experiments.reporting.kinds.kind import Source
from experiments.reporting.sections import section
from experiments.reporting.sources import KINDS, read_source
from spac_theory.checks import InputError

DEFAULT = "outputs/coverage_sweep"


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.report",
        description="One self-contained HTML page of finished results: answers, figures, tables.",
    )
    parser.add_argument(
        "folders", metavar="DIR", nargs="*", default=[DEFAULT],
        help=f"any of: {', '.join(kind.of for kind in KINDS.values())} (default: {DEFAULT}); "
        "`compare DIR_A DIR_B` says what tells two of one kind apart, with paired differences",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", default="", help="the page (default: report.html in the first DIR)"
    )
    return parser.parse_args(words)


def report(words: Sequence[str] | None = None) -> bool:
    """Read every folder, then write the page: nothing is written where one cannot be read."""
    given = arguments(words)
    paired = given.folders[0] == "compare"
    folders = given.folders[paired:]
    if paired and len(folders) != 2:
        raise InputError(f"compare takes two folders, DIR_A DIR_B, and got {len(folders)}.")
    sources = [read_source(place) for place in folders]
    text = report_page(sources, paired)
    path = (
        Path(given.output)
        if given.output
        else sources[0].folder / ("comparison.html" if paired else "report.html")
    )
    write_text(path, text)
    show_paths([path], make_console())
    return True


def report_page(sources: Sequence[Source], paired: bool = False) -> str:
    """The page of some results; `paired`: what tells two of them apart comes first."""
    title = "Results: " + ", ".join(source.name for source in sources)
    links = "".join(
        wrap("li", element("a", source.name, href=f"#part{i}")) for i, source in enumerate(sources)
    )
    contents = wrap("nav", wrap("ul", links), aria_label="Contents") if len(sources) > 1 else ""
    parts = [section(source, i) for i, source in enumerate(sources)]
    first = comparison(*sources) if paired else ""
    facts = made("matplotlib", "plotly", "polars")
    told = ", ".join(f"{name} {value}" for name, value in facts.items() if name != "command")
    foot = wrap("footer", element("p", f"This page was written with {told}."))
    head = wrap("header", element("h1", title) + contents)
    return page(title, f"{head}{wrap('main', first + ''.join(parts), id='main')}{foot}")
