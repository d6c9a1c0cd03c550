"""What the rows say, and that nothing changes them but what should."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from experiments.engine.collect import status_line
from experiments.engine.units import Unit, run_unit
from experiments.studies.sweep.cells import read_sweep
from spac_theory import InputError, make_algorithm

from .test_store import sweep_in
from .tools import comparable, plugin, settings

KEY = ["algorithm", "n", "seed"]


def test_rows_agree_with_the_library_called_by_hand(tmp_path: Path) -> None:
    table = sweep_in(tmp_path)
    unit = next(read_sweep(settings(tmp_path)).units(tmp_path))
    place = unit.setting()
    data = place.data(unit.n, unit.seeds)
    fit = make_algorithm("spac").fit(place.view, data)
    wanted = place.problem.bandit.suboptimality(fit.policy.probabilities())
    rows = table.filter((pl.col("algorithm") == "spac_sqrt_n") & (pl.col("n") == 50))
    assert torch.equal(torch.tensor(rows["suboptimality"].to_list(), dtype=torch.float64), wanted)
    assert rows["lam"].to_list() == pytest.approx([math.sqrt(50)] * 4)
    # A table with ν = μ and two independent draws: C is half the χ² divergence, at 0.2 (1/0.2 − 1)/2.
    assert rows["concentrability"].to_list() == pytest.approx([2.0] * 4)
    assert rows["coverage"].to_list() == pytest.approx([0.2] * 4)


def test_the_bound_is_that_of_the_theorem_and_only_where_it_applies(tmp_path: Path) -> None:
    table = sweep_in(tmp_path, algorithms="spac_sqrt_n,kl_rlhf,pessimistic_mle")
    rows = table.filter(pl.col("algorithm") == "spac_sqrt_n")
    n, lam, c = (rows[k].to_numpy() for k in ("n", "lam", "concentrability"))
    # d = 8 cells with rewards in [0, 1]: a grid of radius 1/n has ceil(n/2) values a cell.
    entropy = 8 * np.minimum(np.log(np.ceil(n / 2)), np.log1p(n))
    epsilon = 2 / n + 2 / n * (entropy + math.log(1 / 0.1))
    kappa = 2 + 2 * math.cosh(1)
    bound = kappa * c / lam + lam * epsilon + 2 / n * np.minimum(1, np.sqrt(c))
    np.testing.assert_allclose(rows["bound_upper"], bound + rows["gap"].to_numpy(), rtol=1e-9)
    others = table.filter(pl.col("algorithm") != "spac_sqrt_n")
    assert others["bound_upper"].null_count() == others.height
    assert others["gap"].null_count() == 0


def test_numbers_do_not_depend_on_the_company_they_keep(tmp_path: Path) -> None:
    alone = sweep_in(tmp_path / "a", algorithms="spac_sqrt_n")
    more = sweep_in(
        tmp_path / "b",
        "grid.n=[400,80,50]",
        "grid.seeds=9",
        "behaviour.dials=[0.4,0.2]",
        algorithms="dpo,uniform,spac_sqrt_n",
    )
    same = more.filter(
        (pl.col("algorithm") == "spac_sqrt_n")
        & (pl.col("seed") < 4)
        & (pl.col("dial") == 0.2)
        & pl.col("n").is_in([50, 400])
    )
    assert comparable(same.sort(KEY)).equals(comparable(alone.sort(KEY)))


def wins(unit: Unit) -> torch.Tensor:
    data: torch.Tensor = unit.setting().data(unit.n, unit.seeds).wins
    return data


def test_data_are_shared_by_algorithms_and_nested_over_n(tmp_path: Path) -> None:
    sweep = read_sweep(settings(tmp_path))
    small, large = (wins(unit) for unit in sweep.units(tmp_path))
    assert bool((small <= large).all())
    other = next(read_sweep(settings(tmp_path, algorithms="dpo")).units(tmp_path))
    assert torch.equal(small, wins(other))


def test_uncovered_optimum_gives_infinity_and_a_skipped_oracle(tmp_path: Path) -> None:
    table = sweep_in(tmp_path, "behaviour.dials=[0.0]", algorithms="spac_sqrt_n,spac_oracle")
    assert table["concentrability"].is_infinite().all()
    oracle = table.filter(pl.col("algorithm") == "spac_oracle")
    assert oracle["status"].unique().to_list() == ["skipped"]
    assert "do not cover" in oracle["reason"][0]
    assert oracle["suboptimality"].null_count() == oracle.height == 8
    done = table.filter(pl.col("status") == "done")
    assert done["bound_upper"].is_infinite().all()
    assert status_line(table) == "16 rows: 8 done, 0 failed, 8 skipped, 0 missing"


def test_the_oracle_label_is_what_the_fit_did(tmp_path: Path) -> None:
    path = plugin(tmp_path, "stranger_oracle")
    table = sweep_in(
        tmp_path,
        f"plugins=[{path}]",
        "+algorithm.honest={name: stranger_oracle}",
        "+algorithm.cheat={name: stranger_oracle, reads_oracle: true}",
        algorithms="spac_oracle,spac_sqrt_n",
    )
    labels = table.group_by("algorithm").agg(pl.col("oracle").unique().first())
    assert dict(labels.iter_rows()) == {
        "honest": False,
        "cheat": True,
        "spac_oracle": True,
        "spac_sqrt_n": False,
    }


def test_a_stranger_brings_a_column_and_an_edited_file_is_another_algorithm(
    tmp_path: Path,
) -> None:
    path = plugin(tmp_path, "stranger_column")
    words = (f"plugins=[{path}]", "+algorithm.mine={name: stranger_column}")
    table = sweep_in(tmp_path, *words, algorithms="uniform")
    mine, other = (table.filter(pl.col("algorithm") == a) for a in ("mine", "uniform"))
    assert mine["most"].min() > 0
    assert other["most"].null_count() == other.height
    wanted = settings(tmp_path, *words)
    before = read_sweep(wanted).algorithms["mine"]
    path.write_text(path.read_text() + "\n# edited\n")
    assert read_sweep(wanted).algorithms["mine"] != before


def test_a_failed_fit_is_a_row_and_is_tried_again(tmp_path: Path) -> None:
    path = plugin(tmp_path, "stranger_fails")
    words = (f"plugins=[{path}]", "+algorithm.bad={name: stranger_fails, fails: true}")
    table = sweep_in(tmp_path, *words, algorithms="uniform")
    bad = table.filter(pl.col("algorithm") == "bad")
    assert bad["status"].unique().to_list() == ["failed"]
    (reason,) = bad["reason"].unique().to_list()
    assert reason.startswith("RuntimeError: nothing works (stranger_fails.py, line ")
    assert table.filter(pl.col("algorithm") == "uniform")["status"].unique().to_list() == ["done"]
    unit = next(read_sweep(settings(tmp_path, *words)).units(tmp_path / "store"))
    assert len(run_unit(unit).failed) == 1
    assert unit.cell("bad").attempts(0) == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("grid.n=[0]", "grid.n is 0"),
        ("grid.n=[2.5]", "grid.n is 2.5"),
        ("grid.n=[]", "grid.n is empty"),
        ("grid.seeds=0", "grid.seeds is 0"),
        ("grid.block=0", "grid.block is 0"),
        ("behaviour.dials=[1.5]", "behaviour.dials .* is 1.5"),
        ("behaviour.dials=[1.0]", "dial is 1"),
        ("learner.delta=1", "learner.delta is 1"),
        ("learner.delta=0", "learner.delta is 0"),
        ("learner.reference=best", "learner.reference is 'best'"),
        ("algorithm.spac_sqrt_n.scale=-1", "algorithm.spac_sqrt_n: scale is -1"),
        ("algorithm.spac_sqrt_n.lam=magic", "algorithm.spac_sqrt_n: lam is 'magic'"),
        ("+algorithm.spac_sqrt_n.speed=2", "unknown option 'speed'"),
        ("+algorithm.mine={name: none}", "algorithm.mine: algorithm is 'none'"),
        ("+algorithm.mine={beta: 1}", "must be a mapping with a `name`"),
        ("problem.name=none", "problem: problem is 'none'"),
        ("problem.actions=2", "problem: actions is 2"),
        ("problem.reward_range=[1]", "reward_range is .1,.; it must be a pair"),
        ("behaviour.name=none", "behaviour: behaviour is 'none'"),
        ("plugins=[none.py]", "plugins contains 'none.py'"),
    ],
)
def test_bad_settings_are_one_sentence(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_sweep(settings(tmp_path, override))
    text = str(error.value)
    assert "\n" not in text
    assert text.endswith(".")


def test_a_norm_too_large_for_any_bound_is_named_before_any_fit(tmp_path: Path) -> None:
    words = settings(tmp_path, "problem=linear", "problem.norm_bound=1e6")
    with pytest.raises(InputError, match=r"problem\.norm_bound is 1000000\.0, so two rewards"):
        read_sweep(words)


def test_a_plugin_that_fails_to_import_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("1 / 0\n")
    with pytest.raises(InputError, match=r"broken.py', which fails to run: ZeroDivisionError"):
        read_sweep(settings(tmp_path, f"plugins=[{path}]"))


def test_max_dials_keeps_the_ends(tmp_path: Path) -> None:
    words = ("behaviour.dials=[0.1,0.2,0.3,0.4]", "grid.max_dials=2")
    assert read_sweep(settings(tmp_path, *words)).dials == (0.1, 0.4)
