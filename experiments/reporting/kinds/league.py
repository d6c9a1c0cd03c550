"""A league: who is best by default and tuned, over all cells and at each coverage."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from experiments.reporting.kinds.answers import rows_say
from experiments.reporting.kinds.kind import Kind, Picture, Source, Told
from experiments.reporting.kinds.paired import Pairs, told_apart
from experiments.reporting.kinds.tidy import read_tidy, reports
from experiments.studies.league.analysis import metric, summary
from experiments.studies.league.figure import league_figure


def read(folder: Path) -> Source | None:
    """The rows of a season."""
    return read_tidy(folder, KIND.name, lambda rows: "tuning" in rows.columns)


def tell(source: Source) -> Told:
    """Its means with intervals, then the report that its program wrote."""
    lines, judged = summary(source.rows), metric(source.rows)
    data = {f"{source.name}_rows": source.rows}
    pictures = []
    if lines["mean_tuned"].null_count() < lines.height:
        words = (
            f"Mean {judged} of every entry, by default and tuned, over all cells and at each dial."
        )
        figure = league_figure(source.rows, lines, judged)
        pictures = [Picture("league", [figure], words, lines)]
    return Told(rows_say(source.rows), pictures, reports=reports(source), data=data)


def compare(a: Source, b: Source) -> Told:
    """Data set by data set, at each cell, entry and tuning that both have."""
    judged = metric(a.rows)
    keys = ["dial", "n", "algorithm", "tuning"]
    done = [
        s.rows.filter(pl.col(judged).is_not_null()).select(*keys, "seed", judged) for s in (a, b)
    ]
    return told_apart(a, b, Pairs(done, keys, "seed", judged, ("problem", "behaviour")))


KIND = Kind("league", "a league's folder", read, tell, compare)
