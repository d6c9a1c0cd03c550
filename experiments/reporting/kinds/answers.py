"""What a sweep answers, in sentences with numbers, read off its curves."""

from __future__ import annotations

import math

import polars as pl

from experiments.common.style import title
from experiments.common.table import Table
from experiments.studies.league.analysis import metric
from experiments.studies.sweep.analysis import dials_by_coverage, ends, moves
from experiments.studies.sweep.table import remarks, short


def answers(lines: pl.DataFrame) -> list[str]:
    """Who falls and where, who is best, what the theorems said, what failed."""
    start, end = ends(lines)
    return [
        *_movers(lines, start, end),
        *_best(lines, end),
        *remarks(lines)[1:],
        _complete(lines),
    ]


def _movers(lines: pl.DataFrame, start: int, end: int) -> list[str]:
    """One sentence a move; *open* is said of nobody, since an open question is no answer."""
    found = moves(lines, start, end)
    between = f"from n = {start:,} to n = {end:,}"
    said = []
    for move, remark in (("falls", "more data help"), ("rises", "more data hurt")):
        where = found.filter(pl.col("move") == move)
        if where.is_empty():
            said.append(f"No algorithm's mean suboptimality surely {move} {between}.")
            continue
        names = [
            f"{title(str(label))} {_at(lines, rows['dial'].to_list())}"
            for (label,), rows in where.group_by("algorithm", maintain_order=True)
        ]
        said.append(f"Mean suboptimality {move} {between} ({remark}): {'; '.join(names)}.")
    return said


def _at(lines: pl.DataFrame, dials: list[float]) -> str:
    """At which coverages, in words."""
    ordered = [dial for dial in reversed(dials_by_coverage(lines)) if dial in dials]
    if len(ordered) == lines["dial"].n_unique():
        return f"at all {len(ordered)} dials" if len(ordered) > 1 else "at the one dial"
    word = "dials" if len(ordered) > 1 else "dial"
    return f"at {word} " + ", ".join(f"{dial:g}" for dial in sorted(ordered))


def _best(lines: pl.DataFrame, n: int) -> list[str]:
    """Who has the smallest mean without an oracle, a sentence a dial."""
    honest = lines.filter(
        pl.col("n") == n, ~pl.col("oracle").fill_null(value=False), pl.col("mean").is_not_null()
    )
    said = []
    for dial in dials_by_coverage(lines):
        at = honest.filter(pl.col("dial") == dial).sort("mean", maintain_order=True)
        if at.height:
            row = at.row(0, named=True)
            tied = at.filter(pl.col("mean") == row["mean"])["algorithm"]
            names = " and ".join(title(label) for label in tied)
            half = (row["mean_high"] - row["mean_low"]) / 2
            width = f" ± {short(half)}" if math.isfinite(half) else ""
            said.append(
                f"With {n:,} comparisons at dial {dial:g} ({100 * row['coverage']:.3g} % of the data on π*) "
                f"the smallest mean is {short(row['mean'])}{width}, of {names}."
            )
    return said


def _complete(lines: pl.DataFrame) -> str:
    counts = {s: int(lines[s].sum()) for s in ("done", "failed", "skipped", "missing")}
    return "Fits: " + ", ".join(f"{count:,} {status}" for status, count in counts.items()) + "."


def moves_table(lines: pl.DataFrame) -> Table:
    """Algorithms down, dials across: what the mean does, with its two values."""
    start, end = ends(lines)
    found = moves(lines, start, end)
    dials = dials_by_coverage(lines)
    rows = []
    for (label,), part in found.group_by("algorithm", maintain_order=True):
        by_dial = {row["dial"]: row for row in part.iter_rows(named=True)}
        rows.append([label, *(_move(by_dial.get(dial)) for dial in dials)])
    title = (
        f"What the mean does from n = {start:,} to n = {end:,}: it falls or rises where the two 95 % "
        "intervals are apart, and is open otherwise, also where no interval is honest"
    )
    return Table(title, ["algorithm", *(f"dial {dial:g}" for dial in dials)], rows)


def _move(row: dict[str, object] | None) -> str | None:
    if row is None or row["before"] is None or row["after"] is None:
        return None
    before, after = (short(float(str(row[key]))) for key in ("before", "after"))
    return f"{row['move']} {before} → {after}"


# --- a league, a study -------------------------------------------------------------------------


def rows_say(rows: pl.DataFrame) -> list[str]:
    """What any table of rows answers: the league's first three, violations of bounds, failures."""
    said = _standings(rows) if "tuning" in rows.columns else []
    if {"bound_upper", "suboptimality"} <= set(rows.columns):
        bounded = rows.filter(
            pl.col("bound_upper").is_not_null(), pl.col("suboptimality").is_not_null()
        )
        held = pl.col("suboptimality") <= pl.col("bound_upper")
        broken = bounded.filter(~held | pl.col("bound_upper").is_nan()).height
        said.append(f"Upper bounds: {broken} violations in {bounded.height:,} fits that have one.")
    if "status" in rows.columns:
        counts = rows["status"].drop_nulls().value_counts(sort=True).iter_rows()
        said.append("Fits: " + ", ".join(f"{count:,} {status}" for status, count in counts) + ".")
    return [*said, f"{rows.height:,} rows."]


def _standings(rows: pl.DataFrame) -> list[str]:
    """The three smallest tuned means of a league, and the three smallest with default options."""
    said, judged = [], metric(rows)
    for kind in ("tuned", "default"):
        ran = rows.filter(pl.col("tuning") == kind, pl.col(judged).is_not_null())
        means = ran.group_by("algorithm").agg(pl.col(judged).mean()).sort(judged)
        first = ", ".join(f"{label} {short(mean)}" for label, mean in means.head(3).iter_rows())
        said.append(f"Smallest mean {judged} over all cells, {kind}: {first}.")
    return said
