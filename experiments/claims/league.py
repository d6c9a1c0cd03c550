"""What the league says of the theories: whether the coverage that each asks for orders the field."""

from __future__ import annotations

import tempfile
from typing import Any

import polars as pl
from rich.console import Console

from experiments.claims import CLAIMS, Outcome
from experiments.common.program import composed
from experiments.studies.league.cells import read_league
from experiments.studies.league.entries import ENTRIES
from experiments.studies.league.season import season
from spac_theory.learning.needs import Coefficient

SINGLE = (Coefficient.SINGLE, Coefficient.CHOSEN, Coefficient.L1)
ONE = {name for name, e in ENTRIES.items() if e.needs in SINGLE}
EVERY = {name for name, e in ENTRIES.items() if e.needs in (Coefficient.ALL, Coefficient.RATIO)}


def settings(size: str) -> dict[str, Any]:
    """The full preset, or one small cell of it."""
    small = [
        "n=[30000]",
        "behaviour.dials=[0.1]",
        "seeds=8",
        "tuning_seeds=4",
        "launcher.processes=0",
    ]
    plain = composed("league_full", *(small if size == "small" else []))
    cheap = [name for name in sorted(ONE | EVERY) if not name.startswith(("spac_t", "sim_oprl"))]
    return plain | ({"entries": cheap} if size == "small" else {})


@CLAIMS.register("coverage_need_orders_the_league")
def coverage_need_orders_the_league(size: str) -> Outcome:
    """What a theory asks of coverage orders the field.

    In the league at full size, n ≥ 1e4, no fit fails, and entries whose theory needs coverage of one
    policy have a lower mean suboptimality than those that need all policies covered: on average over
    either group, with default options and with tuned ones. Entries that buy labels are left out.
    """
    with tempfile.TemporaryDirectory() as store:
        rows = season(read_league({**settings(size), "store": store}), Console(quiet=True))
    failed = rows.filter(pl.col("status") == "failed").height
    asked = rows.filter(pl.col("n") >= 10_000, pl.col("suboptimality").is_not_null())
    parts, holds = [], failed == 0
    for tuning in ("default", "tuned"):
        shown = asked.filter(pl.col("tuning") == tuning, pl.col("queries").fill_null(0) == 0)
        one, every = (
            float(
                shown.filter(pl.col("algorithm").is_in(sorted(group)))["suboptimality"]
                .to_numpy()
                .mean()
            )
            for group in (ONE, EVERY)
        )
        holds &= one < every
        parts.append(f"{tuning} {one:.3f} against {every:.3f}")
    entries = rows["algorithm"].n_unique()
    cells = rows.select("dial", "n").unique().height
    line = (
        f"{entries} entries, {cells} cells, {rows['seed'].n_unique()} data sets, {failed} failures"
    )
    return Outcome(holds, f"{line}; one policy against all policies: {'; '.join(parts)}")
