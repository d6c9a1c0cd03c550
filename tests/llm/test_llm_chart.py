"""The chart compares fairly: equal numbers of settings, chosen on a seed that is not reported."""

import copy

import pytest
import torch

from experiments.common.files import read_json
from llm import chart
from llm.comparison.setting import Cell, Result, Setting
from llm.run import composed
from llm.worlds import bandit, exact
from llm.worlds.language import Language


@pytest.fixture
def values():
    """The configuration of the chart."""
    return composed("chart")


def test_every_method_is_tried_at_as_many_settings(values):
    grid = values["chart"]
    assert len({len(chart.settings(grid, method)) for method in grid["settings"]}) == 1
    assert grid["tuning_seed"] not in grid["seeds"]
    assert len(grid["seeds"]) >= 5
    assert {"dpo", "moving-dpo", "spin", "spac"} == set(grid["settings"])
    assert {name for name, _, _ in grid["cells"]} == {"misleads", "extrapolates"}


def test_a_setting_changes_its_weight_and_nothing_else(values):
    base = copy.deepcopy(values["methods"])
    changed = Setting("spin", "beta", 0.1).options(values["methods"])
    assert changed == {**base["spin"], "beta": 0.1}
    assert Setting("spin").options(values["methods"]) == base["spin"]
    assert values["methods"] == base
    labels = {s.label for s in chart.everything(values["chart"])}
    assert {"spac lam=3", "moving-dpo beta=0.1"} <= labels


def test_the_least_mean_over_the_tuning_cells_is_chosen():
    grid = {"settings": {"dpo": {"beta": [0.1, 1.0]}, "spac": {"lam": [1.0, 3.0]}}}
    numbers = {
        Setting("dpo", "beta", 0.1): (0.5, 0.1),
        Setting("dpo", "beta", 1.0): (0.2, 0.5),
        Setting("spac", "lam", 1.0): (0.4, 0.4),
        Setting("spac", "lam", 3.0): (0.3, 0.4),
    }
    found = [
        Result(Cell("misleads", 0.1, n), 0, setting, value)
        for setting, pair in numbers.items()
        for n, value in enumerate(pair)
    ]
    found.append(Result(Cell("extrapolates", 0.1, 1), 0, Setting("spac", "lam", 1.0), 0.0))
    chosen = chart.choose(found, grid, "misleads")
    assert [s.label for s in chosen.values()] == ["dpo beta=0.1", "spac lam=3"]


def test_a_small_chart_runs_resumes_and_reports_only_fresh_seeds(values, tmp_path, capsys):
    values["run_dir"] = str(tmp_path)
    values["rounds"] = 1
    values["chart"] |= {"cells": [["misleads", 0.1, 40]], "seeds": [1]}
    values["chart"]["settings"] = {"dpo": {"beta": [0.1, 0.3]}, "spac": {"lam": [1.0, 3.0]}}
    values["data"]["language"]["demonstrations"] = 256
    values["train"] |= {"epochs": 1, "batch": 40, "micro_batch": 40}
    chart.execute(copy.deepcopy(values))
    stored = read_json(tmp_path / "chart.json")
    assert {row["seed"] for row in stored["rows"]} == {1}
    assert {row["seed"] for row in stored["tuning"]} == {0}

    def labels(rows):
        return {Setting(r["method"], r["option"], r["value"]).label for r in rows}

    assert len(labels(stored["tuning"])) == 2 + 4  # SFT, exact, settings
    dpo = Setting(**stored["chosen"]["misleads"]["dpo"]).label
    expected = {"sft", "bandit", dpo, "spac lam=1", "spac lam=3"}
    assert labels(stored["rows"]) == expected
    assert (tmp_path / "chart.png").stat().st_size > 10_000
    assert "SPAC, λ = 3" in (tmp_path / "chart.md").read_text()
    capsys.readouterr()
    chart.execute(copy.deepcopy(values))
    assert "==" not in capsys.readouterr().out  # nothing ran again
    assert read_json(tmp_path / "chart.json") == stored


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
