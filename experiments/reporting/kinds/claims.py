"""Claims: every sentence with its verdict and figures, from the page that `experiments.claims` writes."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from experiments.common.table import Table
from experiments.reporting.kinds.kind import Kind, Source, Told
from spac_theory.checks import InputError

PAGE = "claims.md"
SECTION = re.compile(
    r"^## (?P<claim>\w+)\n\s*\*\*(?P<sentence>.*?)\*\*(?P<rest>.*?)\n\n- \**(?P<verdict>Holds|Fails)\**: "
    r"(?P<figures>.*?)\n- `(?P<command>[^`]*)` \((?P<seconds>\d+) s\)",
    re.MULTILINE | re.DOTALL,
)


def read(folder: Path) -> Source | None:
    """A page of claims, or the folder that it is in."""
    path = folder if folder.is_file() else folder / PAGE
    if path.name != PAGE or not path.is_file():
        return None
    found = [match.groupdict() for match in SECTION.finditer(path.read_text(encoding="utf-8"))]
    if not found:
        raise InputError(f"{path} has no claim; write it with python -m experiments.claims.")
    rows = pl.DataFrame(found).with_columns(
        pl.col("seconds").cast(pl.Int64),
        pl.col("verdict").str.to_lowercase(),
        pl.col("sentence", "rest", "figures").str.replace_all(r"\s+", " ").str.strip_chars(),
    )
    return Source(path.parent, KIND.name, rows, "python -m experiments.claims")


def tell(source: Source) -> Told:
    """How many hold, which do not and by what figures; every claim with the command that runs it again."""
    rows = source.rows
    failed = rows.filter(pl.col("verdict") == "fails")
    said = [
        f"{rows.height - failed.height} of {rows.height} claims hold, {failed.height} fail.",
        *(f"Fails: {c['sentence']} {c['figures']}" for c in failed.iter_rows(named=True)),
    ]
    shown = ["claim", "verdict", "sentence", "figures", "seconds", "command"]
    body = [[row[name] for name in shown] for row in rows.iter_rows(named=True)]
    table = Table(
        "Every claim, what was measured, and how to measure it again", shown, body, left=4
    )
    return Told(said, tables=[table], data={"claims": rows})


def compare(a: Source, b: Source) -> Told:
    """Verdicts and figures side by side, claim by claim."""
    both = a.rows.join(b.rows, on="claim", suffix="_b", maintain_order="left")
    if both.is_empty():
        raise InputError(f"{a.folder} and {b.folder} share no claim; compare pages that do.")
    changed = both.filter(pl.col("verdict") != pl.col("verdict_b"))
    names = [
        f"{row['claim']} ({row['verdict']} → {row['verdict_b']})" for row in changed.to_dicts()
    ]
    said = [
        f"Of {both.height} claims on both pages {changed.height} changed their verdict"
        f"{': ' + ', '.join(names) if names else ''}.",
        f"{both.filter(pl.col('figures') != pl.col('figures_b')).height} have other figures.",
    ]
    shown = ["claim", "verdict", "verdict_b", "figures", "figures_b"]
    body = [[row[name] for name in shown] for row in both.iter_rows(named=True)]
    head = ["claim", "first", "second", "figures, first", "figures, second"]
    return Told(said, tables=[Table("Claims on both pages", head, body, left=5)])


KIND = Kind("claims", "a page of claims", read, tell, compare)
