"""Curves, tables and titles from rows made by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from experiments.common.program import CONFIGURATION
from experiments.common.style import STYLES, looks, series, title
from experiments.engine.columns import table, write_results
from experiments.engine.store import read_results
from experiments.studies.league.entries import ENTRIES
from experiments.studies.sweep.analysis import (
    aggregate,
    dials_by_coverage,
    falls,
    finding,
    growth,
    shown_dials,
)
from experiments.studies.sweep.cells import Pictures
from experiments.studies.sweep.curves import draw_curves, floor_of, headline_labels
from experiments.studies.sweep.figure import against_n, write_figures
from experiments.studies.sweep.table import write_summary
from spac_theory.statistics import clopper_pearson

STAR = {300: math.inf, 10_000: 0.3271}  # (T1) at λ*, by n


def rows(
    label: str,
    samples: dict[int, list[float | None]],
    *,
    dial: float = 0.1,
    oracle: bool = False,
    bound: float | None = None,
) -> pl.DataFrame:
    """Rows of one algorithm; a sample of None is a failed one."""
    parts = []
    for n, values in samples.items():
        count = len(values)
        columns = {
            "problem": ["toy"] * count,
            "behaviour": ["coverage"] * count,
            "dial": [dial] * count,
            "coverage": [dial] * count,
            "n": [n] * count,
            "algorithm": [label] * count,
            "seed": list(range(count)),
            "suboptimality": values,
            "concentrability": [1 / dial if dial else float("inf")] * count,
            "concentrability_all": [100.0] * count,
            "bound_upper": [bound] * count,
            "bound_star": [STAR[n]] * count,
            "range": [1.0] * count,
            "gap": [1e-8] * count,
            "gap_kind": ["duality gap"] * count,
            "oracle": [oracle] * count,
            "status": ["failed" if v is None else "done" for v in values],
            "reason": ["RuntimeError: no" if v is None else None for v in values],
            "seconds": [0.5] * count,
        }
        parts.append(pl.from_arrow(table(columns)))
    return pl.concat(parts)  # type: ignore[arg-type]


def results() -> pl.DataFrame:
    up, down = [0.3, 0.31, 0.32] * 12, [0.1, 0.11, 0.12] * 12
    return pl.concat(
        [
            rows("spac_sqrt_n", {300: up, 10_000: down}, bound=0.115),
            rows("mle_greedy", {300: down, 10_000: up}),
            rows("spac_oracle", {300: [0.0] * 36, 10_000: [0.0] * 36}, oracle=True),
            rows("dpo", {300: [None] * 36, 10_000: [None] * 36}),
        ]
    )


def test_curves_are_means_quantiles_and_counts() -> None:
    curves = aggregate(results(), 0.1)
    at = {(r["algorithm"], r["n"]): r for r in curves.iter_rows(named=True)}
    spac = at["spac_sqrt_n", 10_000]
    assert spac["mean"] == pytest.approx(0.11)
    assert spac["mean_low"] < 0.11 < spac["mean_high"]
    assert spac["quantile"] == 0.12
    assert (spac["bounded"], spac["violations"], spac["done"]) == (36, 12, 36)
    assert at["spac_sqrt_n", 300]["violations"] == 36
    assert at["spac_oracle", 300]["zeros"] == 36
    failed = at["dpo", 300]
    assert (failed["failed"], failed["mean"]) == (36, None)


def test_the_table_marks_the_best_honest_algorithm_and_says_what_failed(tmp_path: Path) -> None:
    console = Console(width=140, record=True)
    write_summary(aggregate(results(), 0.1), tmp_path, console)
    text = (tmp_path / "summary.md").read_text()
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if "|" in line}
    assert lines["spac_sqrt_n"].count("**") == 2
    assert lines["mle_greedy"].count("**") == 2
    assert lines["spac_oracle (oracle)"].count("**") == 0
    assert lines["dpo"].count("failed") == 2
    bound = [cell.strip() for cell in lines["bound (T1) at λ*"].split("|")[2:-1]]
    assert bound == ["inf", "0.327"]
    assert "theorems (T1), (T2): 48 violations in 72 fits" in text
    assert "dpo: 72 rows failed: RuntimeError: no" in text
    assert "spac_oracle (oracle)" in console.export_text()
    assert pl.read_csv(tmp_path / "summary.csv").height == 8


def test_titles_count_what_is_drawn() -> None:
    curves = aggregate(results(), 0.1)
    assert (falls(curves, "spac_sqrt_n"), falls(curves, "mle_greedy")) == (1, 0)
    told = finding(curves, ["spac_sqrt_n", "mle_greedy"])
    assert told == (
        "From n = 300 to 10,000 the mean falls at 1 of 1 coverage: SPAC (λ = √n)\n"
        "at none: greedy maximum likelihood"
    )
    short = curves.filter(pl.col("n") == 300)
    assert finding(short, ["spac_sqrt_n"]) == "Suboptimality against the number of comparisons"


def test_the_sparsest_dial_shown_still_covers_the_optimum() -> None:
    parts = [rows("uniform", {300: [0.1] * 3}, dial=d) for d in (0.0, 0.1, 0.2, 0.5)]
    assert shown_dials(aggregate(pl.concat(parts), 0.1)) == [0.1, 0.5]


@pytest.mark.parametrize("dials", [(0.1,), (0.0, 0.1, 0.5)])
def test_figures_are_written_for_one_dial_and_for_infinite_concentrability(
    tmp_path: Path, dials: tuple[float, ...]
) -> None:
    parts = [rows("spac_sqrt_n", {300: [0.1] * 3, 10_000: [0.0] * 3}, dial=d) for d in dials]
    options = Pictures(("spac_sqrt_n", "absent"), None, ("png",))
    paths = write_figures(aggregate(pl.concat(parts), 0.1), options, tmp_path)
    names = ["suboptimality_n", "every_algorithm", "suboptimality_coverage"]
    assert [p.stem for p in paths] == names[: 2 if len(dials) == 1 else 3]  # one dial is no curve
    assert all(p.read_bytes()[:4] == b"\x89PNG" for p in paths)


def test_results_survive_the_file(tmp_path: Path) -> None:
    write_results(results(), tmp_path / "results.parquet")
    assert read_results(tmp_path).equals(results())


def test_no_violation_in_three_hundred_certifies_one_per_cent() -> None:
    assert clopper_pearson(0, 300).high == pytest.approx(0.0122, abs=1e-4)


def test_dials_that_differ_by_rounding_alone_keep_their_order_and_are_named() -> None:
    """`starving`: C(π*) is the same at every dial up to rounding, so panels are told apart by the dial."""
    parts = []
    for dial, noise in ((0.0, 1e-15), (0.1, 3e-15), (0.5, 0.0)):
        part = rows("uniform", {300: [0.1] * 3}, dial=dial)
        parts.append(part.with_columns(concentrability=pl.lit(2.0 * (1 + noise))))
    curves = aggregate(pl.concat(parts), 0.1)
    assert dials_by_coverage(curves) == [0.0, 0.1, 0.5]
    figure = against_n(curves, ["uniform"], 1e-3)
    titles = {axes.get_title().split(":")[0] for axes in figure.axes}
    assert titles == {"dial 0", "dial 0.1", "dial 0.5"}
    assert growth(curves, "uniform", [300]) == "Suboptimality against coverage"


@pytest.mark.parametrize("samples", [[0.2], [0.1, 0.3] * 9, [0.0] * 95 + [0.5] * 5])
def test_no_interval_is_shown_where_none_is_honest(tmp_path: Path, samples: list[float]) -> None:
    curves = aggregate(rows("uniform", {300: list(samples)}), 0.1)
    assert math.isinf(curves["mean_high"][0])
    write_summary(curves, tmp_path, Console(quiet=True))
    line = next(t for t in (tmp_path / "summary.md").read_text().splitlines() if "| uniform" in t)
    assert "±" not in line


def test_a_figure_ends_where_its_data_do_and_draws_no_line_through_what_it_cannot_show() -> None:
    usual = aggregate(rows("uniform", {300: [0.3] * 3, 10_000: [0.1] * 3}), 0.1)
    assert floor_of(usual) == 1e-3
    fast = aggregate(rows("uniform", {300: [3e-5] * 3, 10_000: [2e-6] * 3}), 0.1)
    assert floor_of(fast) == 1e-6
    zero = aggregate(rows("uniform", {300: [0.3] * 3, 10_000: [0.0] * 3}), 0.1)
    axes = Figure().subplots()
    draw_curves(axes, zero, "n", "mean", ["uniform"], 1e-3)
    solid = [line for line in axes.lines if line.get_marker() == STYLES["uniform"].marker]
    assert [len(line.get_ydata()[~np.isnan(line.get_ydata())]) for line in solid] == [1, 1]


def test_every_algorithm_has_a_style_and_no_two_look_alike() -> None:
    shipped = {path.stem for path in (Path(CONFIGURATION) / "algorithm").glob("*.yaml")}
    assert shipped <= set(STYLES)
    found = looks([*STYLES, "mine", "theirs", "$ours_"])
    assert len({(look.colour, look.marker, str(look.line)) for look in found.values()}) == len(
        found
    )
    assert len({look.name for look in found.values()}) == len(found)
    assert all(title(label) != label for label in ENTRIES if label in STYLES and "_" in label)


def test_a_stranger_is_in_the_headline_under_its_own_name() -> None:
    curves = aggregate(pl.concat([results(), rows("nudge", {300: [0.2] * 36})]), 0.1)
    assert headline_labels(curves)[0] == "nudge"
    names = {line.get_label() for axes in against_n(curves, headline_labels(curves), 1e-3).axes
             for line in axes.lines}  # fmt: skip
    assert {"nudge", "SPAC (λ = √n)"} <= names


def test_the_summary_has_every_dial_and_says_what_its_columns_are(tmp_path: Path) -> None:
    parts = [rows("uniform", {300: [0.1] * 3}, dial=d) for d in (0.0, 0.1, 0.2, 0.5)]
    write_summary(aggregate(pl.concat(parts), 0.1), tmp_path, Console(quiet=True))
    text = (tmp_path / "summary.md").read_text()
    assert text.count("mean suboptimality on toy") == 4
    for name in pl.read_csv(tmp_path / "summary.csv").columns:
        assert f"| {name} |" in text


def test_no_two_of_many_curves_look_alike() -> None:
    looks = [series(i) for i in range(42)]
    assert len({(look["color"], look["marker"]) for look in looks}) == 42
