"""Tables of the league: means with intervals, ranks, failures, queries, seconds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from torch import Tensor

from experiments.common.figure import save
from experiments.common.files import write_text
from experiments.common.table import Table, plus_minus, show_paths
from experiments.engine.columns import text, write_results
from experiments.studies.league.entries import BUDGET
from experiments.studies.league.figure import league_figure
from spac_theory import Problem, pair_law, winner_law
from spac_theory.concentrability.linear import (
    all_policy_concentrability,
    single_policy_concentrability,
)
from spac_theory.concentrability.ratios import (
    coverability,
    every_policy_ratio,
    kl_ball_ratio,
    largest_ratio,
    mean_ratio,
)
from spac_theory.learning.needs import Coefficient
from spac_theory.problems import true_preference
from spac_theory.statistics import FEWEST_FOR_A_MEAN

Row = dict[str, Any]
NOT_NUMBERS = (Coefficient.NONE, Coefficient.UNSTATED)
COEFFICIENTS = tuple(c for c in Coefficient if c not in NOT_NUMBERS)
COLUMNS = {
    "tuning": text("default options, or the best of the entry's settings on other data sets: tuned")
}
GENERAL = (
    "No reward explains these preferences, so an entry is tuned and judged by how far its policy can be "
    "beaten; suboptimality is that of the Borda score, the chance to beat a uniform response.\n"
)
BETA = 0.1  # of the entries that need a ball of radius R/β


def coefficients(problem: Problem, mu: Tensor, radius: float) -> dict[str, float]:
    """Every coefficient of one behaviour, exactly (`sup C` by its upper end).

    The data draw both responses from `mu`, which is the learner's `π_ref` and `ν` as well.
    """
    bandit, best = problem.bandit, problem.bandit.optimal_policy
    law = bandit.features, bandit.rho, pair_law(mu)
    wins = winner_law(bandit.rho, law[2], true_preference(problem)).sum(-1)
    chosen = wins / wins.sum(-1, keepdim=True)
    wide = problem.reward_class.difference_bound / BETA
    found = {
        Coefficient.SINGLE: float(single_policy_concentrability(*law, best, mu)),
        Coefficient.CHOSEN: float(single_policy_concentrability(*law, best, chosen)),
        Coefficient.ALL: all_policy_concentrability(*law, mu).upper,
        Coefficient.BEST_RATIO: largest_ratio(best, mu),
        Coefficient.L1: mean_ratio(best, mu, bandit.rho),
        Coefficient.RATIO: every_policy_ratio(mu),
        Coefficient.LOCAL: kl_ball_ratio(mu, bandit.rho, radius),
        Coefficient.WIDE: kl_ball_ratio(mu, bandit.rho, wide),
        Coefficient.COVERABILITY: coverability(bandit.features.shape[1]),
    }
    return {str(each): value for each, value in found.items()}


def metric(rows: pl.DataFrame) -> str:
    """What entries are judged by: exploitability where no reward explains the preferences."""
    general = "exploitability" in rows.columns and rows["exploitability"].is_not_null().any()
    return "exploitability" if general else "suboptimality"


def summary(table: pl.DataFrame) -> pl.DataFrame:
    """One line an algorithm: means over cells of default and tuned options, with 95 % intervals.

    A data set's number is its mean over cells; the interval is normal, over data sets, and left out
    where they are too few for one. The rank is the mean over cells of the rank of the tuned mean.
    What is averaged, and sorted by, is the `metric` of the table; where that is exploitability, the mean
    suboptimality of the tuned entry stands beside it (`borda`).
    """
    judged = metric(table)
    ran = table.filter(pl.col("suboptimality").is_not_null())
    seeds = ran.group_by("algorithm", "tuning", "seed").agg(pl.col(judged).mean())
    spread = pl.col(judged).std() / pl.len().sqrt()
    half = pl.when(pl.len() >= FEWEST_FOR_A_MEAN).then(1.96 * spread).alias("half")
    means = seeds.group_by("algorithm", "tuning").agg(pl.col(judged).mean().alias("mean"), half)
    wide = means.pivot("tuning", index="algorithm", values=["mean", "half"])
    tuned = ran.filter(pl.col("tuning") == "tuned")
    cells = tuned.group_by("algorithm", "dial", "n").agg(
        pl.col(judged).mean(), pl.col("suboptimality").mean().alias("borda")
    )
    ranked = cells.with_columns(pl.col(judged).rank().over("dial", "n").alias("rank"))
    ranks = ranked.group_by("algorithm").agg(pl.col("rank").mean(), pl.col("borda").mean())
    if judged == "suboptimality":
        ranks = ranks.drop("borda")
    costs = ran.group_by("algorithm").agg(
        pl.col("queries").max().fill_null(0).cast(pl.Int64),
        (1000 * pl.col("seconds").mean()).alias("ms"),
    )
    missed = (pl.col("status") == "failed") | ~pl.col("converged").fill_null(True)
    bad = missed.sum().alias("failures")
    skips = (pl.col("status") == "skipped").any().alias("skipped")
    counts = table.group_by("algorithm").agg(bad, skips)
    for other in (wide, ranks, costs):
        counts = counts.join(other, on="algorithm", how="left")
    return counts.sort("mean_tuned", nulls_last=True)


def needs_table(table: pl.DataFrame, covered: list[Row], needed: dict[str, str]) -> list[Row]:
    """For each algorithm and dial: the coefficient its theory needs, and what was measured.

    Measured is the mean of the table's `metric` at the largest `n`, default and tuned.
    """
    judged = metric(table)
    ran = table.filter(pl.col(judged).is_not_null(), pl.col("n") == pl.col("n").max())
    means = ran.group_by("algorithm", "dial", "tuning").agg(pl.col(judged).mean())
    found = {(r["algorithm"], r["dial"], r["tuning"]): r[judged] for r in means.to_dicts()}
    lines = []
    for label, needs in needed.items():
        for place in covered:
            keys = [(label, place["dial"], kind) for kind in ("default", "tuned")]
            default, tuned = (found.get(key) for key in keys)
            lines.append(
                {
                    "algorithm": label,
                    "needs": needs,
                    "dial": place["dial"],
                    "coefficient": place.get(needs),
                    "default": default,
                    "tuned": tuned,
                }
            )
    return lines


def write_report(
    folder: Path,
    rows: pl.DataFrame,
    covered: list[Row],
    needed: dict[str, str],
    console: Console,
    told_by: Mapping[str, str] | None = None,
) -> None:
    """Write `results.parquet`, `league.md` and `league.png`, and print the table."""
    lines, judged = summary(rows), metric(rows)
    told = rows.filter(pl.col("status").is_in(["skipped", "failed"])).to_dicts()
    reasons = {row["algorithm"]: row["reason"] for row in told}
    needs = needs_table(rows, covered, needed)
    write_results(rows, folder / "results.parquet", COLUMNS, told_by)
    write_text(folder / "league.md", page(lines, covered, needs, reasons, judged))
    pictures = save(league_figure(rows, lines, judged), folder / "league", ("png",))
    standings(lines, f"League: mean {judged}, sorted by tuned").show(console)
    for label, reason in reasons.items():
        console.print(f"{label}: {reason}", style="yellow", markup=False)
    show_paths([folder / "results.parquet", folder / "league.md", *pictures], console)


def standings(lines: pl.DataFrame, title: str = "") -> Table:
    """One line an entry, in words."""
    header = ["algorithm", "default", "tuned", "rank", "failures", "queries", "ms a data set"]
    if "borda" in lines.columns:
        header.insert(4, "suboptimality, tuned")
    return Table(title, header, [_line(line) for line in lines.to_dicts()])


def _line(line: Row) -> list[Any]:
    """One line of the table."""

    def interval(kind: str) -> str:
        mean, half = line.get(f"mean_{kind}"), line.get(f"half_{kind}")
        return (
            "skipped" if mean is None else plus_minus(mean, math.inf if half is None else half, 3)
        )

    rank = None if line["rank"] is None else f"{line['rank']:.1f}"
    return [
        line["algorithm"], interval("default"), interval("tuned"), rank,
        *([line["borda"]] if "borda" in line else []),
        *(line[name] for name in ("failures", "queries", "ms")),
    ]  # fmt: skip


def page(
    lines: pl.DataFrame,
    covered: list[Row],
    needs: list[Row],
    reasons: dict[str, str],
    judged: str,
) -> str:
    """The report in Markdown."""
    parts = [
        "# League\n",
        f"Tuned means: the best of {BUDGET} settings on other data sets, chosen with the true reward in "
        f"hand. {judged.capitalize()} is averaged over cells; ± is a 95 % interval over data sets.\n",
        *([GENERAL] if judged == "exploitability" else []),
        standings(lines).markdown(),
        "## Skipped or failed\n",
        *[f"- {label}: {reason}\n" for label, reason in reasons.items()],
        "## Coverage of each dial\n",
        table_of(covered).markdown(),
        *[f"- {each}: {each.meaning}\n" for each in COEFFICIENTS],
        "## What each theory needs, and what was measured at the largest n\n",
        *[f"- {each}: {each.meaning}\n" for each in NOT_NUMBERS],
        table_of(needs).markdown(),
    ]
    return "\n".join(parts)


def table_of(lines: Sequence[Row]) -> Table:
    """Rows with the same keys as a table without a title."""
    return Table("", list(lines[0]), [list(line.values()) for line in lines])
