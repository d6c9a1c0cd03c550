"""The table of a sweep: on the terminal, as Markdown, and in full as CSV."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from experiments.common.files import write_atomically, write_text
from experiments.common.table import Table
from experiments.engine.columns import COLUMNS, Column, real, whole
from experiments.engine.referee import ROUNDING
from experiments.studies.sweep.analysis import dials_by_coverage

BOUND = "bound (T1) at λ*"
DATA_SETS = "data sets"
CURVES: dict[str, Column] = {
    **{
        status: whole(DATA_SETS, f"how many are {status}")
        for status in ("done", "failed", "skipped", "missing")
    },
    "zeros": whole(DATA_SETS, "how many have a suboptimality of exactly 0"),
    "lam": real("", "median of λ"),
    "bound": real("reward", "median of (T1) or (T2) at each fit's own λ and gap"),
    "bounded": whole(DATA_SETS, "how many have such a bound"),
    "violations": whole(DATA_SETS, "how many exceed theirs"),
    "duality_gap": real("reward", "largest certified duality gap"),
    "not_converged": whole(DATA_SETS, "how many stopped short of their promised accuracy"),
    "seconds": real("s", "processor time of all fits"),
    **{
        f"{name}{end}": real("reward", f"{words}{of}")
        for name, of in (("mean", "mean suboptimality"), ("quantile", "its (1 − δ)-quantile"))
        for end, words in (("", ""), ("_low", "lower end, 95 %, of "), ("_high", "upper end of "))
    },
}


def write_summary(curves: pl.DataFrame, output: Path, console: Console) -> list[Path]:
    """Print the mean suboptimality at every coverage; write `summary.md` and `summary.csv`.

    The last line of each table is the bound (T1) at `λ*`; the page ends with what each column of the CSV
    is, and its unit.
    """
    tables, notes = [table(curves, dial) for dial in dials_by_coverage(curves)], remarks(curves)
    for shown in tables:
        shown.show(console)
    for note in notes:
        console.print(note, markup=False, highlight=False)
    parts = [shown.markdown("**") for shown in tables]
    meanings = _meanings(curves.columns).markdown("**")
    text = "\n".join([*parts, "\n".join(f"- {note}" for note in notes), "", meanings])
    write_text(output / "summary.md", text)
    write_atomically(output / "summary.csv", curves.write_csv)
    return [output / "summary.csv", output / "summary.md"]


def _meanings(names: Sequence[str]) -> Table:
    """What each column of `summary.csv` is."""
    known = {**COLUMNS, **CURVES}
    lines = [[name, known[name].unit, known[name].meaning] for name in names]
    return Table("Columns of summary.csv", ["column", "unit", "meaning"], lines, left=3)


def title(curves: pl.DataFrame, dial: float) -> str:
    """What a table shows, in one line."""
    row = curves.filter(pl.col("dial") == dial).row(0, named=True)
    return (
        f"mean suboptimality on {row['problem']}, behaviour {row['behaviour']} at {dial:g}: "
        f"{row['coverage']:.3g} of the data on π*, C(π*) = {row['concentrability']:.3g}"
    )


def table(curves: pl.DataFrame, dial: float) -> Table:
    """Sample sizes across, a line an algorithm, the best in each column, the bound below.

    Best is the smallest mean among the algorithms that use no oracle (all of those that tie).
    """
    at = curves.filter(pl.col("dial") == dial)
    sizes = at["n"].unique().sort().to_list()
    honest = at.filter(~pl.col("oracle").fill_null(value=False))
    least = dict(honest.group_by("n").agg(pl.col("mean").min()).iter_rows())
    lines, best = [], set()
    for i, ((label,), rows) in enumerate(at.group_by("algorithm", maintain_order=True)):
        by_size = {row["n"]: row for row in rows.iter_rows(named=True)}
        oracle = any(row["oracle"] for row in by_size.values())
        lines.append(
            [f"{label} (oracle)" if oracle else label, *(entry(by_size[n]) for n in sizes)]
        )
        means = [None if oracle else by_size[n]["mean"] for n in sizes]
        best |= {(i, j + 1) for j, m in enumerate(means) if m is not None and m == least[sizes[j]]}
    lines.append([BOUND, *bounds(at, sizes)])
    header = ["algorithm", *(f"n = {n:,}" for n in sizes)]
    return Table(title(curves, dial), header, lines, frozenset(best))


def entry(row: dict[str, Any]) -> str:
    """`mean ± half-width`, or what happened instead."""
    if row["done"] == 0:
        return next((s for s in ("failed", "skipped") if row[s]), "missing")
    half = (row["mean_high"] - row["mean_low"]) / 2
    text = short(row["mean"]) + (f" ±{short(half)}" if math.isfinite(half) else "")
    return text + (" !" if row["failed"] or row["missing"] else "")


def bounds(at: pl.DataFrame, sizes: list[int]) -> list[str]:
    """(T1) at `λ*` for each size; "–" where the theorem does not speak."""
    value = dict(at.select("n", "bound_star").iter_rows())
    return ["–" if value[n] is None else f"{value[n]:.3g}" for n in sizes]


def short(value: float) -> str:
    """Three decimals; 0 up to rounding as it is, other small numbers as powers of ten."""
    if abs(value) < ROUNDING:
        return "0"
    return f"{value:.3f}" if abs(value) >= 5e-4 else f"{value:.0e}"


def remarks(curves: pl.DataFrame) -> list[str]:
    """What the table does not say: bounds, certificates, failures, time."""
    notes = [
        "± is half the 95 % bootstrap interval over seeds, left out where none is honest (fewer than "
        "20 seeds, or fewer than 10 that differ from the commonest value); the best without an oracle "
        "is bold."
    ]
    bounded, broken = int(curves["bounded"].sum()), int(curves["violations"].sum())
    if bounded:
        notes.append(f"theorems (T1), (T2): {broken} violations in {bounded} fits of the game.")
        notes.append(
            f"{BOUND} bounds the (1 − δ)-quantile of an exactly solved game, not the mean."
        )
    gaps = curves.group_by("algorithm", maintain_order=True).agg(pl.col("duality_gap").max())
    worst = [(a, g) for a, g in gaps.iter_rows() if g is not None]
    if worst:
        listed = ", ".join(f"{a} {g:.1e}" for a, g in sorted(worst, key=lambda ag: -ag[1]))
        notes.append(f"largest certified duality gap: {listed}.")
    for status in ("failed", "skipped"):
        rows = curves.filter(pl.col(status) > 0)
        for (label,), group in rows.group_by("algorithm", maintain_order=True):
            reason = group["reason"][0]
            notes.append(f"{label}: {int(group[status].sum())} rows {status}: {reason}")
    late = int(curves["not_converged"].sum())
    if late:
        notes.append(
            f"{late} fits stopped short of their promised accuracy; their gaps say by how much."
        )
    notes.append(f"processor time of all fits: {curves['seconds'].sum():.0f} s.")
    return notes
