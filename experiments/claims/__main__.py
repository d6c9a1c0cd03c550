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
    """A claim that has been run."""

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


def section(row: Row) -> str:
    """What `docs/claims.md` says of a claim under its heading."""
    headline, _, rest = row.text.partition(". ")
    verdict = "Holds" if row.outcome.holds else "**Fails**"
    return "\n".join(
        [
            f"**{headline.rstrip('.')}.** {rest}".rstrip(),
            "",
            f"- {verdict}: {row.outcome.figure}.",
            f"- `python -m experiments.claims {row.name}` ({row.seconds:.0f} s)",
        ]
    )


def page(rows: list[Row], old: str = "") -> str:
    """The Markdown of `docs/claims.md`: the sections of `old`, those of `rows` in their place."""
    parts = re.split(r"^## (\w+)\n", old, flags=re.MULTILINE)[1:]
    sections = {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}
    sections |= {row.name: section(row) for row in rows}
    kept = {name: sections[name] for name in CLAIMS if name in sections}
    failed = [name for name, text in kept.items() if "\n- **Fails**" in text]
    index = []
    for name, text in kept.items():
        verdict = "**fails**" if name in failed else "holds"
        index.append(f"| [{name}](#{name}) | {text[2 : text.index('**', 2)]} | {verdict} |")
    return "\n".join(
        [
            "# Claims",
            "",
            "Every sentence below is a program (`experiments/claims/`). `make claims` runs them all",
            "in full and writes this page; `make test` runs a small version of each. A claim that",
            "fails stays here, with its figures.",
            "",
            f"{len(kept)} of {len(list(CLAIMS))} claims have been run in full; {len(failed)} failed.",
            "",
            "| claim | in short | verdict |",
            "|---|---|---|",
            *index,
            "",
            *[f"## {name}\n\n{text}\n" for name, text in kept.items()],
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
