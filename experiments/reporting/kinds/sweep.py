"""A coverage sweep: who falls and who rises, suboptimality against comparisons and coverage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from experiments.common.style import title
from experiments.reporting.kinds.answers import answers, moves_table
from experiments.reporting.kinds.kind import Kind, Picture, Source, Told
from experiments.reporting.kinds.paired import Pairs, told_apart
from experiments.reporting.kinds.tidy import read_tidy
from experiments.results import caption, curves, plot, table
from experiments.results.axes import at_dial, at_size
from experiments.studies.sweep.analysis import dials_by_coverage
from experiments.studies.sweep.curves import floor_of, headline_labels, where

WHOLE = {"problem", "dial", "n", "algorithm", "bound_star", "bound_upper", "delta", "options"}


def fits(rows: pl.DataFrame) -> bool:
    """Whether rows have all that curves need, and no study's or league's own."""
    names = set(rows.columns)
    return names >= WHOLE and "tuning" not in names and not rows["algorithm"].null_count()


def read(folder: Path) -> Source | None:
    """The rows of a sweep or of a store."""
    return read_tidy(folder, KIND.name, fits)


def tell(source: Source) -> Told:
    """Curves at each coverage and against coverage; the table of moves, and one a coverage."""
    lines = curves(source.rows)
    dials = dials_by_coverage(lines)
    return Told(
        answers(lines),
        _pictures(lines, dials),
        [moves_table(lines), *(table(lines, dial) for dial in dials)],
        data={f"{source.name}_curves": lines},
    )


def _pictures(lines: pl.DataFrame, dials: list[float]) -> list[Picture]:
    """Against `n`, a panel a dial, and against coverage; every algorithm has its curve.

    A headline's handful is shown at first.
    """
    drawable = lines.filter(pl.col("mean").is_not_null())
    if drawable.is_empty():
        return []
    here = [dial for dial in dials if dial in drawable["dial"]]
    panels = [
        _figure(drawable, where(at_dial(drawable, dial).row(0, named=True), True), dial=dial)
        for dial in here
    ]
    looks: Any = {"shown": frozenset(map(title, headline_labels(lines))), "floor": floor_of(lines)}
    found = [Picture("n", panels, _words(drawable, dial=here[0]), drawable, **looks)]
    if here[1:]:
        words, size = _words(drawable, x="coverage"), at_size(drawable, None)
        figure = _figure(drawable, "", x="coverage")
        found.append(Picture("coverage", [figure], words, size, **looks))
    return found


def _figure(lines: pl.DataFrame, name: str, **options: Any) -> Figure:
    every = lines["algorithm"].unique(maintain_order=True).to_list()
    axes = plot(lines, width="two", labels="none", algorithms=every, **options)
    axes.set_title(name.replace("\n", ", "))
    assert isinstance(axes.figure, Figure)
    return axes.figure


def _words(lines: pl.DataFrame, **options: Any) -> str:
    """The caption of one panel, for all of them."""
    told = caption(lines, **options).removesuffix(" Grey: the other algorithms.")
    if "dial" not in options:
        return told
    row = at_dial(lines, options["dial"]).row(0, named=True)
    head, _, rest = told.partition(f"; {row['behaviour']} dial")
    return f"{head}, a panel a dial of {row['behaviour']}, {rest[rest.index('on ' + row['problem']) :]}"


def compare(a: Source, b: Source) -> Told:
    """Data set by data set, at each dial, size and algorithm that both have."""
    columns = ["dial", "n", "algorithm", "seed", "suboptimality"]
    done = [s.rows.filter(pl.col("status") == "done").select(columns) for s in (a, b)]
    same = ("problem", "behaviour", "reference")
    return told_apart(a, b, Pairs(done, columns[:3], "seed", "suboptimality", same))


KIND = Kind("sweep", "a sweep's folder or store", read, tell, compare)
