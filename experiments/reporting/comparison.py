"""Two sweeps, data set by data set: what changed between them, with intervals of the differences."""

from __future__ import annotations

import math

import polars as pl

from experiments.common.table import Table
from experiments.reporting.html import bullets, csv_link, element, table_html, wrap
from experiments.reporting.sources import Source
from experiments.studies.sweep.table import short
from spac_theory.checks import InputError
from spac_theory.statistics import mean_interval

CELL = ["dial", "n", "algorithm"]
SAME = ("problem", "behaviour", "reference")  # where these differ, seed 0 is not the same data set


def differences(a: Source, b: Source) -> pl.DataFrame:
    """A line a (dial, n, algorithm) that both have: means over the seeds that both finished, and B − A.

    `low, high` are the 95 % bootstrap interval of the mean difference (infinite where none is honest);
    `move` is lower, higher, equal (in every data set) or open. Raises InputError where the two do not
    share their data sets.
    """
    for source in (a, b):
        if source.kind != "sweep":
            raise InputError(f"{source.folder} is a {source.kind}; compare two coverage sweeps.")
    for name in SAME:
        found = [source.rows[name].unique().sort().to_list() for source in (a, b)]
        if found[0] != found[1]:
            raise InputError(
                f"{name} is {found[0]} in {a.folder} and {found[1]} in {b.folder}, so their data sets "
                "are not the same; compare sweeps of one setting."
            )
    columns = [*CELL, "seed", "suboptimality"]
    done = [source.rows.filter(pl.col("status") == "done").select(columns) for source in (a, b)]
    pairs = done[0].join(done[1], on=[*CELL, "seed"], suffix="_b", maintain_order="left")
    if pairs.is_empty():
        raise InputError(
            f"{a.folder} and {b.folder} share no fit; compare sweeps with a dial, n and algorithm in common."
        )
    change = pl.col("suboptimality_b") - pl.col("suboptimality")
    cells = pairs.group_by(CELL, maintain_order=True).agg(
        seeds=pl.len(),
        a=pl.col("suboptimality").mean(),
        b=pl.col("suboptimality_b").mean(),
        change=change,
    )
    intervals = [_interval(values) for values in cells["change"].to_list()]
    return pl.concat([cells.drop("change"), pl.DataFrame(intervals)], how="horizontal")


def _interval(values: list[float]) -> dict[str, float | str]:
    """Mean difference, its interval, and what it says."""
    mean = mean_interval(values)
    if not any(values):
        move = "equal"
    elif mean.high < 0:
        move = "lower"
    else:
        move = "higher" if mean.low > 0 else "open"
    return {"change": mean.estimate, "low": mean.low, "high": mean.high, "move": move}


def comparison(a: Source, b: Source) -> str:
    """The part of the page that compares two sweeps, B against A."""
    cells = differences(a, b)
    said = wrap("div", element("h3", "Answers") + bullets(_answers(cells)), class_="answers")
    head = element("h2", f"{b.folder} against {a.folder}", id="compare")
    data = csv_link(cells, "differences.csv")
    return wrap(
        "section", head + said + table_html(_table(cells)) + data, aria_labelledby="compare"
    )


def _answers(cells: pl.DataFrame) -> list[str]:
    count = dict(cells["move"].value_counts().iter_rows())
    parts = ", ".join(
        f"{move} in {count.get(move, 0)}" for move in ("lower", "higher", "equal", "open")
    )
    said = [
        f"Of {cells.height} cells (dial, n, algorithm) the second sweep's mean suboptimality is {parts}; "
        "lower and higher where the 95 % interval of the paired difference lies on one side of 0, equal "
        "where every data set gives the same number."
    ]
    for (label,), rows in cells.group_by("algorithm", maintain_order=True):
        apart = rows.filter(pl.col("move").is_in(["lower", "higher"]))
        if apart.height:
            row = apart.sort(pl.col("change").abs()).row(-1, named=True)
            said.append(
                f"{label}: the largest certain difference is {row['change']:+.3f}, at dial {row['dial']:g} "
                f"and n = {row['n']:,} ({short(row['a'])} → {short(row['b'])})."
            )
    return said


def _table(cells: pl.DataFrame) -> Table:
    header = ["algorithm", "dial", "n", "seeds", "first", "second", "second − first", "verdict"]
    rows = [
        [
            row["algorithm"], f"{row['dial']:g}", f"{row['n']:,}", row["seeds"], short(row["a"]),
            short(row["b"]), _difference(row["change"], row["low"], row["high"]), row["move"],
        ]
        for row in cells.iter_rows(named=True)
    ]  # fmt: skip
    return Table("Mean suboptimality over the data sets that both finished, paired", header, rows)


def _difference(change: float, low: float, high: float) -> str:
    half = (high - low) / 2
    return short(change) + (f" ±{short(half)}" if math.isfinite(half) else "")
