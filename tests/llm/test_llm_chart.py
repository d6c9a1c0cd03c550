"""The chart compares fairly: equal numbers of settings, chosen on a seed that is not reported."""

import copy
import itertools
from pathlib import Path

import pytest
import torch

from experiments.common.files import read_json, write_json
from experiments.reporting.sources import kind_of, read_source
from llm import chart
from llm.comparison.grid import check
from llm.comparison.setting import Cell, Result, Setting
from llm.methods import make_method
from llm.run import composed
from llm.worlds import bandit, exact
from llm.worlds.language import Language
from spac_theory.checks import InputError


@pytest.fixture
def values():
    """The configuration of the chart."""
    return composed("chart")


def test_every_rival_is_tried_at_as_many_settings_and_ours_at_none(values):
    grid = check(values["chart"], list(values["methods"]))
    assert {len(grid.tried(method)) for method in grid.settings} == {3}
    assert set(grid.settings) == {"dpo", "moving-dpo", "spin", "spac"}
    assert grid.ours.options(values["methods"]) == {"name": "spac_t", **values["methods"]["spac_t"]}
    assert grid.ours.options(values["methods"])["lam"] == "sqrt_n"
    assert grid.tuning_seed not in grid.seeds
    assert len(grid.seeds) >= 5
    wanted = itertools.product(("misleads", "extrapolates"), (0.02, 0.1, 0.3), (1000, 3000))
    assert set(grid.cells) == set(wanted)
    assert not {grid.tuning_seed, *grid.seeds} & set(grid.ablations.seeds)
    for setting in (*grid.everything, *grid.ablated().values()):
        make_method(setting.method, setting.options(values["methods"]))


def test_a_setting_changes_its_options_and_nothing_else(values):
    base = copy.deepcopy(values["methods"])
    fast = Setting.of("spin", {"beta": 0.1, "train.learning_rate": 0.003})
    expected = {**base["spin"], "beta": 0.1, "train": {"learning_rate": 0.003}}
    assert fast.options(values["methods"]) == expected
    assert fast.label == "spin beta=0.1 train.learning_rate=0.003"
    changed = Setting.of("spac_t", {"train.epochs": 1.0}).options(values["methods"])
    assert changed["train"] == {**base["spac_t"]["train"], "epochs": 1.0}
    assert values["methods"] == base


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"focus": "spac"}, "runs untuned"),
        ({"seeds": [0, 1]}, "tuning_seed"),
        ({"tuning_cells": [["misleads", 0.1, 10]]}, "no cell of 'extrapolates'"),
        ({"settings": {"dpo": [{}], "spac": [{}, {"lam": 1.0}]}}, "as many settings"),
        ({"settings": {"dop": [{}]}}, "dop"),
    ],
)
def test_a_grid_that_is_unfair_or_cannot_be_finished_is_refused(values, change, told):
    with pytest.raises(InputError, match=told):
        check({**values["chart"], **change}, list(values["methods"]))


def test_the_least_mean_over_the_tuning_cells_is_chosen(values):
    tried = {"dpo": [{"beta": 0.1}, {"beta": 1.0}], "spac": [{"lam": 1.0}, {"lam": 3.0}]}
    grid = check({**values["chart"], "settings": tried}, list(values["methods"]))
    numbers = {
        Setting.of("dpo", {"beta": 0.1}): (0.5, 0.1),
        Setting.of("dpo", {"beta": 1.0}): (0.2, 0.5),
        Setting.of("spac", {"lam": 1.0}): (0.4, 0.4),
        Setting.of("spac", {"lam": 3.0}): (0.3, 0.4),
    }
    found = [
        Result(Cell("misleads", 0.1, n), 0, setting, value)
        for setting, pair in numbers.items()
        for n, value in enumerate(pair)
    ]
    other = Setting.of("spac", {"lam": 1.0})
    found.append(Result(Cell("extrapolates", 0.1, 1), 0, other, 0.0))
    chosen = chart.choose(found, grid, "misleads")
    assert [s.label for s in chosen.values()] == ["dpo beta=0.1", "spac lam=3"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A chart of one small cell, and what its folder holds."""
    values = composed("chart", f"run_dir={tmp_path_factory.mktemp('chart')}", "rounds=1")
    values["chart"] |= {
        "cells": [["misleads", 0.1, 40]],
        "tuning_cells": [["misleads", 0.1, 40]],
        "seeds": [1],
        "settings": {"dpo": [{"beta": 0.1}, {"beta": 0.3}], "spac": [{"lam": 1.0}, {"lam": 3.0}]},
    }
    values["chart"]["ablations"] = {
        "cells": [["misleads", 0.1, 40]],
        "seeds": [2],
        "settings": {"a head alone": {"network": "head"}},
    }
    values["data"]["language"]["demonstrations"] = 256
    values["train"] |= {"epochs": 1, "batch": 40, "micro_batch": 40}
    values["methods"]["spac_t"] |= {"folds": 2, "fit_epochs": 2.0, "critic_epochs": 1.0}
    chart.execute(copy.deepcopy(values))
    return values, Path(values["run_dir"])


def test_a_small_chart_reports_only_fresh_seeds_and_what_was_spent(drawn):
    stored = read_json(drawn[1] / "chart.json")
    assert {row["seed"] for row in stored["rows"]} == {1}
    assert {row["seed"] for row in stored["tuning"]} == {0}
    assert {row["seed"] for row in stored["ablations"]} == {2}
    assert len({row["setting"] for row in stored["tuning"]}) == 2 + 4  # SFT, exact, settings
    chosen = stored["chosen"]["misleads"]
    rows = {row["setting"]: row for row in stored["rows"]}
    assert set(rows) == {"sft", "bandit", "spac_t", *chosen.values()}
    # One step of 40 rows a pass; spac_t: its own three passes, a critic's, two fits of two over 20 rows.
    assert rows[chosen["dpo"]]["steps"] == 1
    assert rows["spac_t"]["steps"] == 3 + 1 + 2 * 2
    assert (rows[chosen["dpo"]]["samples"], rows["spac_t"]["samples"]) == (0, 40 * 4)
    assert rows["spac_t"]["labels"] == 0
    page = (drawn[1] / "chart.md").read_text()
    assert "SPAC-T − it" in page
    assert "a head alone" in page
    assert (drawn[1] / "chart.png").stat().st_size > 10_000
    source = read_source(str(drawn[1]))
    told = kind_of(source).tell(source)
    least = min(r["suboptimality"] for k, r in rows.items() if k not in ("sft", "bandit"))
    assert f"{least:.3f}" in told.answers[0]
    assert set(source.rows["setting"]) == set(rows)
    assert len(told.tables[1].rows) == len(stored["tuning"])
    twice = kind_of(source).compare(source, source).data["comparison"]
    assert set(twice["move"]) == {"equal"}


def test_a_chart_resumes_run_by_run(drawn, capsys):
    values, folder = drawn
    before = read_json(folder / "chart.json")
    chart.execute(copy.deepcopy(values))
    assert "==" not in capsys.readouterr().out  # nothing ran again
    assert read_json(folder / "chart.json") == before
    cell = folder / "misleads-coverage-0.1-n-40-seed-1"
    results = read_json(cell / "results.json")
    write_json(cell / "results.json", {k: v for k, v in results.items() if k != "spac_t"})
    assert chart.Chart(copy.deepcopy(values)).clock.left["spac_t"] == 1
    chart.execute(copy.deepcopy(values))
    assert capsys.readouterr().out.count("==") == 1
    assert read_json(folder / "chart.json") == before


def test_grouping_responses_by_k_does_not_change_the_game():
    """Against the ungrouped bandit: 512 actions, features that mark (x, k), the same saddle."""
    from spac_theory import LearnerView, make_algorithm
    from spac_theory.bandit.preferences import WinnerCounts
    from spac_theory.rewards.linear import LinearClass

    language = Language("misleads", coverage=0.1)
    pairs = language.sample_pairs(600, seed=3)
    contexts, actions = language.count.shape
    marks = torch.zeros(contexts, actions, contexts, 4, dtype=torch.float64)
    for x in range(contexts):
        marks[x, torch.arange(actions), x, language.count[x]] = 1
    top = language.scale * 1.0
    # The game does not change when all rewards of a context move together.
    cls = LinearClass(marks.flatten(2), reward_range=(-top / 2, top / 2))
    rho = torch.full((contexts,), 1 / contexts, dtype=torch.float64)
    view = LearnerView(cls, rho, language.behaviour, language.behaviour)
    data = WinnerCounts.from_triples(*pairs, contexts=contexts, actions=actions)
    policy = make_algorithm("spac").fit(view, data).policy.probabilities()[0]
    expected = 1.0 - exact.table_value(language, policy)
    assert bandit.exact_spac(language, pairs) == pytest.approx(expected, abs=1e-4)
