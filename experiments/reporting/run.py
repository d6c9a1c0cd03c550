"""From folders to one file; `experiments.report` is its program."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from experiments.common.files import write_text
from experiments.common.table import make_console, show_paths
from experiments.reporting.html import element, page, wrap
from experiments.reporting.sections import section
from experiments.reporting.sources import Source, here, read_source

DEFAULT = "outputs/coverage_sweep"


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.report",
        description="One self-contained HTML page of finished results: answers, figures, tables.",
    )
    parser.add_argument(
        "folders", metavar="DIR", nargs="*", default=[DEFAULT],
        help=f"a sweep's, league's or study's output folder, or a store (default: {DEFAULT})",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", default="", help="the page (default: report.html in the first DIR)"
    )
    return parser.parse_args(words)


def report(words: Sequence[str] | None = None) -> bool:
    """Read every folder, then write the page: nothing is written where one cannot be read."""
    given = arguments(words)
    sources = [read_source(place) for place in given.folders]
    path = Path(given.output) if given.output else sources[0].folder / "report.html"
    write_text(path, report_page(sources))
    show_paths([path], make_console())
    return True


def report_page(sources: Sequence[Source]) -> str:
    """The page of some results."""
    title = "Results: " + ", ".join(source.name for source in sources)
    links = "".join(
        wrap("li", element("a", source.name, href=f"#part{i}")) for i, source in enumerate(sources)
    )
    contents = wrap("nav", wrap("ul", links), aria_label="Contents") if len(sources) > 1 else ""
    parts = "".join(section(source, i) for i, source in enumerate(sources))
    facts = ", ".join(f"{name} {value}" for name, value in here().items())
    foot = wrap("footer", element("p", f"This page was written with {facts}."))
    head = wrap("header", element("h1", title) + contents)
    return page(title, f"{head}{wrap('main', parts, id='main')}{foot}")
