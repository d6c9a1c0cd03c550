"""`python -m experiments.claims`: run claims in full and write what came out to `docs/claims.md`."""

from __future__ import annotations

import argparse
import os
import re
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


def line(row: Row) -> str:
    """The line of a claim in the table of `docs/claims.md`."""
    verdict = "holds" if row.outcome.holds else "**fails**"
    command = f"`python -m experiments.claims {row.name}`"
    cells = [f"`{row.name}`", row.text, row.outcome.figure, verdict, f"{row.seconds:.0f}", command]
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"


def page(rows: list[Row], old: str = "") -> str:
    """The Markdown of `docs/claims.md`: the lines of `old`, those of `rows` in their place."""
    lines = dict(re.findall(r"^(\| `(?:\w+)` )(.*)$", old, re.MULTILINE))
    for row in rows:
        start = f"| `{row.name}` "
        lines[start] = line(row).removeprefix(start)
    known = {f"| `{name}` " for name in CLAIMS}
    table = [start + rest for start, rest in sorted(lines.items()) if start in known]
    failed = sum("**fails**" in text for text in table)
    return "\n".join(
        [
            "# Claims",
            "",
            "Every sentence below is a program (`experiments/claims/`). `make claims` runs them all",
            "in full and writes this page; `make test` runs a small version of each. A claim that",
            "fails stays here, with its figures.",
            "",
            f"{len(table)} of {len(known)} claims have been run in full; {failed} failed.",
            "",
            "| claim | statement | figure | verdict | seconds | command |",
            "|---|---|---|---|---:|---|",
            *table,
            "",
        ]
    )


def write(rows: list[Row]) -> None:
    """Replace the page, or leave it whole."""
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    temporary = PAGE.with_suffix(".tmp")
    temporary.write_text(page(rows, old), encoding="utf-8")
    os.replace(temporary, PAGE)


def main() -> int:
    """Run the claims named on the command line, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="claims to run (default: all)")
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
        if arguments.size == "full":
            write(rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
