"""`python -m experiments.claims`: run every claim in full and write `docs/claims.md`."""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from experiments.claims import CLAIMS, SIZES, Outcome, statement
from spac_theory.checks import InputError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "claims.md"


@dataclass(frozen=True)
class Row:
    """One line of the page."""

    name: str
    text: str
    outcome: Outcome
    seconds: float


def run(name: str, size: str) -> Row:
    """Run one claim; an exception is an outcome too, and a failed one."""
    claim = CLAIMS[name]
    start = time.monotonic()
    try:
        outcome = claim(size)
    except Exception as error:  # a claim that cannot be run has not been shown
        outcome = Outcome(False, f"could not be run: {type(error).__name__}: {error}")
    return Row(name, statement(claim), outcome, time.monotonic() - start)


def page(rows: list[Row], size: str) -> str:
    """The Markdown of `docs/claims.md`."""
    failed = sum(not row.outcome.holds for row in rows)
    lines = [
        "# Claims",
        "",
        "Every sentence below is a program (`experiments/claims/`). `make claims` runs them all in full "
        "and writes this page; `make test` runs a small version of each. Failed claims stay here.",
        "",
        f"Size of this run: {size}. {len(rows)} claims, {failed} failed.",
        "",
        "| claim | statement | figure | verdict | seconds | command |",
        "|---|---|---|---|---:|---|",
    ]
    for row in rows:
        verdict = "holds" if row.outcome.holds else "**fails**"
        cells = [f"`{row.name}`", row.text, row.outcome.figure, verdict, f"{row.seconds:.0f}"]
        cells.append(f"`python -m experiments.claims {row.name} --size {size}`")
        lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the claims named on the command line, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="claims to run (default: all, and write the page)")
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--list", action="store_true", help="list the claims and stop")
    arguments = parser.parse_args()
    console = Console()
    if arguments.list:
        for name in CLAIMS:
            console.print(f"[bold]{name}[/bold]  {statement(CLAIMS[name])}")
        return 0
    names = arguments.names or list(CLAIMS)
    try:
        for name in names:
            CLAIMS[name]
    except InputError as error:
        console.print(str(error), style="red")
        return 2
    rows = []
    for name in names:
        console.print(f"[bold]{name}[/bold] …")
        row = run(name, arguments.size)
        rows.append(row)
        style = "green" if row.outcome.holds else "red"
        word = "holds" if row.outcome.holds else "fails"
        console.print(f"  [{style}]{word}[/{style}] in {row.seconds:.0f} s: {row.outcome.figure}")
    if not arguments.names:
        temporary = PAGE.with_suffix(".tmp")
        temporary.write_text(page(rows, arguments.size), encoding="utf-8")
        os.replace(temporary, PAGE)
        console.print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
