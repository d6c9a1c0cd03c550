"""The league of the language: all methods alike, what each is given, and the bandit's order beside it."""

import copy
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from experiments.common.files import read_json
from llm import chart
from llm.comparison import carried
from llm.comparison.carried import Bandit
from llm.comparison.grid import check
from llm.methods import METHODS, make_method
from llm.run import composed
from spac_theory.checks import InputError


@pytest.fixture
def values():
    """The configuration of the league."""
    return composed("league")


def test_every_registered_method_is_there_with_as_many_settings(values):
    grid = check(values["chart"], list(values["methods"]))
    played = {options["name"] for options in values["methods"].values()}
    assert played == set(METHODS)
    assert set(grid.settings) == set(values["methods"])
    assert {len(set(grid.tried(name))) for name in grid.settings} == {2}
    assert grid.untuned == []
    assert grid.tuning_seed not in grid.seeds
    assert len(grid.seeds) >= 5
    wanted = {(k, c, 1000) for k in ("misleads", "extrapolates") for c in (0.02, 0.1, 0.3)}
    assert set(grid.cells) == wanted
    for setting in grid.everything:
        make_method(setting.method, setting.options(values["methods"]))


def test_what_cannot_be_a_league_is_refused(values):
    few = {**values["chart"], "settings": {"dpo": [{}]}}
    assert set(check(values["chart"], ["dpo", "spac"]).settings) == {"dpo", "spac"}
    with pytest.raises(InputError, match=r"none for spac, nash_md"):
        check(few, ["dpo", "spac", "nash_md"])
    with pytest.raises(InputError, match=r"no results\.parquet"):
        chart.League({**values, "bandit_league": "nowhere"})


def bandit_folder(folder, means):
    """A bandit's league in which entries have these means, two data sets and two coverages each."""
    rows = [
        {"algorithm": name, "dial": dial, "n": 10, "seed": seed, "tuning": tuning, "queries": None,
         "suboptimality": mean + 0.001 * seed + (tuning == "default")}
        for name, mean in means.items() for dial in (0.1, 0.5) for seed in range(5)
        for tuning in ("default", "tuned")
    ]  # fmt: skip
    folder.mkdir()
    pl.DataFrame(rows).write_parquet(folder / "results.parquet")
    return folder


def test_the_order_of_two_leagues(tmp_path):
    place = bandit_folder(tmp_path / "bandit", {"a": 0.1, "b": 0.2, "other c": 0.3, "d": 0.0})
    bandit = Bandit.read(str(place), {"c": "other c"})
    there = bandit.losses(["a", "b", "c", "e"])
    assert {k: float(v.mean()) for k, v in there.items()} == pytest.approx(
        {"a": 0.102, "b": 0.202, "c": 0.302}
    )
    assert np.allclose(bandit.losses(["a"], 0.5)["a"], [0.1, 0.101, 0.102, 0.103, 0.104])
    noise = np.array([-0.01, 0.0, 0.01])
    here = {"a": 0.3 + noise, "b": 0.2 + noise, "c": 0.4 + noise, "e": 0.1 + noise}
    both = carried.agreement(here, there)
    assert both.methods == 3
    assert both.tau == pytest.approx(1 / 3)  # two pairs of three agree
    assert both.seeds.estimate == pytest.approx(1 / 3)
    assert carried.ranks(there) == {"a": 1.0, "b": 2.0, "c": 3.0}
    assert carried.reversals(here, there) == {"b": ["a"]}
    unsure = {**here, "b": 0.29 + 20 * noise}
    assert carried.reversals(unsure, there) == {}
    assert carried.agreement({"a": here["a"], "b": here["b"]}, there) is None


METHODS_HERE = ("dpo", "ipo", "nash_md", "sft_chosen", "drpo")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A league of one small cell and five methods, and what its folder holds."""
    folder = tmp_path_factory.mktemp("league")
    means = {"dpo": 0.2, "ipo": 0.1, "nash_md": 0.4, "behaviour_cloning": 0.3, "drpo": 0.0}
    values = composed(
        "league",
        f"run_dir={folder / 'run'}",
        f"methods=[{','.join(METHODS_HERE)}]",
        f"bandit_league={bandit_folder(folder / 'bandit', means)}",
        "rounds=1",
    )
    values["chart"] |= {
        "cells": [["misleads", 0.1, 40]],
        "tuning_cells": [["misleads", 0.1, 40]],
        "seeds": [2, 3],
        "settings": {name: values["chart"]["settings"][name][:1] for name in METHODS_HERE},
    }
    values["data"]["language"]["demonstrations"] = 256
    values["train"] |= {"epochs": 2, "batch": 40, "micro_batch": 40}
    chart.execute(copy.deepcopy(values))
    return values, Path(values["run_dir"])


def test_a_small_league_says_what_each_is_worth_and_given(drawn):
    stored = read_json(drawn[1] / "league.json")
    rows = {(row["method"], row["seed"]): row for row in stored["rows"]}
    assert {seed for _, seed in rows} == {2, 3}
    assert {name for name, _ in rows} == {*METHODS_HERE, "sft", "bandit"}
    given = {
        k: [rows[k, 2][c] for c in ("pairs", "labels", "samples", "steps")] for k in METHODS_HERE
    }
    assert given["dpo"] == given["ipo"] == [40, 0, 0, 2]
    assert given["nash_md"] == [0, 80, 160, 2]
    assert given["sft_chosen"] == [40, 0, 0, 2]
    assert given["drpo"][0] == given["drpo"][3] == 0
    assert min(given["drpo"][1:3]) > 0
    start = rows["sft", 2]
    assert start["value"] + start["suboptimality"] == pytest.approx(1.0)
    page = (drawn[1] / "league.md").read_text()
    for words in ("Nash-MD †", "DRPO †", "| DPO |", "exact SPAC, told k", "Kendall's τ"):
        assert words in page
    assert stored["carried"]["all cells"]["methods"] == 5
    assert stored["carried"]["all cells (the data alone)"]["methods"] == 3
    assert (drawn[1] / "league.png").stat().st_size > 10_000


def test_a_league_resumes_run_by_run(drawn, capsys):
    values, folder = drawn
    before = read_json(folder / "league.json")
    chart.execute(copy.deepcopy(values))
    assert "==" not in capsys.readouterr().out.partition("#")[0]
    assert read_json(folder / "league.json") == before
