"""Load, curves, axes: what a notebook draws is what the rows say."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import matplotlib
import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure

from experiments.common.direct import spread
from experiments.common.table import Table
from experiments.results import PAPER, caption, cell, curves, heatmap, load, plot, table
from experiments.results.paper import write
from experiments.studies.sweep.analysis import moves
from experiments.studies.sweep.run import coverage_sweep
from spac_theory.checks import InputError

from .tools import settings


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    folder = tmp_path_factory.mktemp("results")
    assert coverage_sweep(settings(folder, "figure.formats=[]"), folder)
    return load(folder)


def test_a_drawn_curve_is_the_mean_of_the_rows(rows: pl.DataFrame) -> None:
    axes = Figure().subplots()
    assert plot(curves(rows), axes, labels="legend") is axes
    drawn = {str(line.get_label()): line.get_data() for line in axes.lines}
    for label, name in (
        ("spac_sqrt_n", "SPAC (λ = √n)"),
        ("mle_greedy", "greedy maximum likelihood"),
    ):
        own = rows.filter(pl.col("algorithm") == label)
        for n, height in zip(*drawn[name], strict=True):
            mean = own.filter(pl.col("n") == n)["suboptimality"].to_numpy().mean()
            assert height == pytest.approx(mean if mean >= 1e-3 else 5e-4, rel=1e-12)


def test_plot_leaves_matplotlib_as_it_was(rows: pl.DataFrame) -> None:
    before = dict(matplotlib.rcParams)
    plot(curves(rows))
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("width", ["one", "two"])
@pytest.mark.parametrize("x", ["n", "coverage"])
def test_a_figure_has_a_papers_width_and_words_that_can_be_read(
    rows: pl.DataFrame, width: str, x: str
) -> None:
    figure = plot(curves(rows), x=x, width=width).figure
    assert isinstance(figure, Figure)
    assert figure.get_figwidth() == PAPER[width][0] == {"one": 3.25, "two": 6.75}[width]
    words = [text for text in figure.findobj(matplotlib.text.Text) if text.get_text()]
    assert min(text.get_fontsize() for text in words) >= 5  # exponents of ticks are the smallest


def test_the_caption_counts_the_seeds(rows: pl.DataFrame) -> None:
    assert "over 4 seeds" in caption(curves(rows))
    assert "over 3 seeds" in caption(curves(rows.filter(pl.col("seed") < 3)), x="coverage")


def test_what_is_not_there_is_said_in_a_sentence(rows: pl.DataFrame) -> None:
    lines = curves(rows)
    for wrong in ({"dial": 0.7}, {"x": "time"}, {"algorithms": ["ppo"]}, {"width": "three"}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            plot(lines, **wrong)
    with pytest.raises(InputError, match="n is 7"):
        plot(lines, x="coverage", n=7)
    with pytest.raises(InputError, match="bound_star"):
        curves(rows.drop("bound_star"))
    other = rows.with_columns(pl.lit("elsewhere").alias("problem"))
    with pytest.raises(InputError, match="2 values of problem"):
        curves(pl.concat([rows, other]))


def test_labels_are_spread_without_crossing() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        heights = sorted(generator.uniform(0, 1, size=6))
        apart = spread(heights, 0.1)
        assert min(np.diff(apart)) >= 0.1 - 1e-12
        assert max(apart) <= 1
    assert spread([0.1, 0.5], 0.1) == [0.1, 0.5]


def test_a_move_needs_intervals_apart() -> None:
    at = {"dial": [0.1, 0.1], "algorithm": ["a", "a"], "n": [300, 10_000], "mean": [0.4, 0.2]}
    apart = pl.DataFrame({**at, "mean_low": [0.35, 0.1], "mean_high": [0.5, 0.3]})
    assert moves(apart, 300, 10_000)["move"].to_list() == ["falls"]
    assert moves(apart, 10_000, 300)["move"].to_list() == ["rises"]
    wide = apart.with_columns(mean_high=pl.Series([0.5, 0.36]))
    assert moves(wide, 300, 10_000)["move"].to_list() == ["open"]


def test_latex_has_every_entry_and_no_bare_command(rows: pl.DataFrame) -> None:
    text = table(curves(rows)).latex()
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")].splitlines()[1:]
    assert all(line.endswith(r" \\") and line.count(" & ") == 2 for line in body)
    assert r"mle\_greedy" in text
    strange = Table("50 % of_it & #1", ["a", "b"], [["x^2~$y{", 0.5]]).latex()
    bare = re.sub(
        r"\\[&%$#_{}]|\\text\w+\{\}", "", strange.splitlines()[2] + strange.splitlines()[6]
    )
    assert not re.search(r"[%$#_^~]", bare)


def test_load_says_where_nothing_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no results"):
        load(tmp_path)


def test_the_cell_of_a_heat_map_is_the_row_of_the_table(tmp_path: Path) -> None:
    assert coverage_sweep(settings(tmp_path, "figure.formats=[]"), tmp_path)
    rows = load(tmp_path).filter(pl.col("algorithm") == "spac_sqrt_n", pl.col("seed") == 2)
    for row in rows.iter_rows(named=True):
        found = cell(tmp_path, "spac_sqrt_n", row["dial"], row["n"], 2)
        assert found.suboptimality == row["suboptimality"]
        assert found.shown.sum() == 2 * row["n"]
    figure = heatmap(found)
    for axes, values in zip(figure.axes, (found.reward, found.shown, found.policy), strict=True):
        assert np.array_equal(axes.images[0].get_array(), values)
    with pytest.raises(InputError, match="no cell with algorithm 'ppo'"):
        cell(tmp_path, "ppo")


def test_figures_of_a_paper_from_a_folder(tmp_path: Path) -> None:
    assert coverage_sweep(settings(tmp_path, "figure.formats=[]"), tmp_path)
    common = {"width": "one", "no_title": True, "floor": None}
    paths = write(tmp_path, formats="pdf,svg", cell="", **common)
    assert {path.name for path in paths} == {"suboptimality_n_0.2.pdf", "suboptimality_n_0.2.svg"}
    pdf = paths[0].read_bytes()
    assert b"/FontFile2" in pdf  # TrueType, embedded
    svg = paths[1].read_text()
    assert "<text" not in svg  # letters are outlines: no reader's fonts are asked for
    assert svg.count('id="DejaVuSans-') > 10
    assert "0.2" in (tmp_path / "figures/captions.md").read_text()
    assert write(tmp_path, formats="png", cell="mle_greedy,0.2,50,0", **common)[0].exists()
    for wrong, said in (({"formats": "bmp"}, "'bmp'"), ({"cell": "x,1"}, "ALGORITHM,DIAL,N,SEED")):
        with pytest.raises(InputError, match=said):
            write(tmp_path, **{"formats": "pdf", "cell": "", **common, **wrong})
    if shutil.which("xelatex") is None:
        with pytest.raises(InputError, match="needs xelatex"):
            write(tmp_path, formats="pgf", cell="", **common)
    else:
        assert (
            write(tmp_path, formats="pgf", cell="", **common)[0]
            .read_text()
            .startswith("%% Creator")
        )
