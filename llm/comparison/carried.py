"""Does the bandit's order carry over? Two leagues side by side: Kendall's tau, and who changed places."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from spac_theory.checks import InputError
from spac_theory.statistics import Interval, student_interval

Losses = Mapping[str, NDArray[np.float64]]  # method -> suboptimality by seed or data set
COLUMNS = ("algorithm", "dial", "seed", "suboptimality", "tuning", "queries")


@dataclass(frozen=True)
class Bandit:
    """The tuned rows of the bandit's league, and what methods of the language are called there."""

    rows: pl.DataFrame
    twins: Mapping[str, str]

    @classmethod
    def read(cls, place: str, twins: Mapping[str, str]) -> Bandit:
        """The results in the folder `place`; refuses one without them."""
        path = Path(place).expanduser() / "results.parquet"
        if not path.exists():
            raise InputError(
                f"bandit_league is {place!r}, and no results.parquet is there; name the output folder of "
                "python -m experiments.league, or null."
            )
        rows = pl.read_parquet(path)
        lacking = [name for name in COLUMNS if name not in rows.columns]
        if lacking:
            raise InputError(
                f"bandit_league is {place!r}, whose results lack {', '.join(lacking)}; name the output "
                "folder of python -m experiments.league."
            )
        tuned = pl.col("tuning") == "tuned"
        return cls(rows.filter(tuned, pl.col("suboptimality").is_not_null()), twins)

    def twin(self, method: str) -> str:
        """The entry that a method of the language is."""
        return self.twins.get(method, method)

    def losses(
        self, methods: Sequence[str], coverage: float | None = None
    ) -> dict[str, NDArray[np.float64]]:
        """Suboptimality of each data set, its mean over cells, of those methods that played there.

        At this coverage alone, if the league's dial has it.
        """
        rows = self.rows
        if coverage is not None and coverage in rows["dial"].to_list():
            rows = rows.filter(pl.col("dial") == coverage)
        means = rows.group_by("algorithm", "seed").agg(pl.col("suboptimality").mean()).sort("seed")
        found = {name: means.filter(pl.col("algorithm") == self.twin(name)) for name in methods}
        return {k: part["suboptimality"].to_numpy() for k, part in found.items() if len(part)}

    def queries(self, method: str) -> int:
        """The labels its twin asked for in a data set, at most."""
        asked = self.rows.filter(pl.col("algorithm") == self.twin(method))["queries"].max()
        return int(asked) if isinstance(asked, int | float) else 0


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau of two orders of `methods`: of the means, and of the order that each seed alone gives.

    `chance` is the probability of a tau at least as far from 0 if one order were drawn at random.
    """

    methods: int
    tau: float
    chance: float
    seeds: Interval


def agreement(here: Losses, there: Losses) -> Agreement | None:
    """How far the orders agree on the methods that both have; None with fewer than three, or if all tie."""
    both = [name for name in here if name in there]
    if len(both) < 3:
        return None
    bandit = [there[name].mean() for name in both]
    whole = stats.kendalltau([here[name].mean() for name in both], bandit)
    seeds = np.stack([here[name] for name in both], -1)
    taus = [float(stats.kendalltau(row, bandit).statistic) for row in seeds]
    each = [tau for tau in taus if np.isfinite(tau)]  # all methods tied: no order
    if not each or not np.isfinite(whole.statistic):
        return None
    return Agreement(len(both), float(whole.statistic), float(whole.pvalue), student_interval(each))


def ranks(losses: Losses) -> dict[str, float]:
    """1 for the least mean."""
    places = stats.rankdata([values.mean() for values in losses.values()])
    return dict(zip(losses, map(float, places), strict=True))


def clearly_below(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    """Whether `a − b`, paired, has a 95 % interval (Student's) below 0."""
    return len(a) == len(b) and student_interval(a - b).high < 0


def reversals(here: Losses, there: Losses) -> dict[str, list[str]]:
    """Pairs whose order is clear in both leagues and not the same: `better here -> [better there, …]`."""
    both = [name for name in here if name in there]
    found = dict[str, list[str]]()
    for a, b in itertools.permutations(both, 2):
        if clearly_below(here[a], here[b]) and clearly_below(there[b], there[a]):
            found.setdefault(a, []).append(b)
    return found
