"""The league: refusals before any work, one small season, and its tables."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import torch
import yaml
from rich.console import Console

from experiments.engine.index import pages
from experiments.studies.league.analysis import (
    COEFFICIENTS,
    NOT_NUMBERS,
    coefficients,
    needs_table,
    summary,
    write_report,
)
from experiments.studies.league.cells import read_league
from experiments.studies.league.entries import BUDGET, ENTRIES
from experiments.studies.league.season import coverage_rows, season
from spac_theory import ALGORITHMS, InputError, make_behaviour, make_problem

CONFIG = Path(__file__).resolve().parents[2] / "conf" / "league.yaml"
PAGES = CONFIG.parents[1] / "docs" / "methods"
QUIET = Console(quiet=True)


def config(store, **changes):
    plain = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    for key in ("hydra", "defaults"):
        plain.pop(key)
    small = {"seeds": 4, "tuning_seeds": 2, "n": [100], "labels": 20}
    small["launcher"] = {"name": "local", "processes": 0}
    small["problem"] = {"name": "rare_lucky", "contexts": 2, "actions": 4}
    small["behaviour"] = {"name": "coverage", "dials": [0.2]}
    return {**plain, **small, "store": str(store), **changes}


def test_every_algorithm_plays_and_tunes_within_the_same_budget():
    playing = {entry.algorithm for entry in ENTRIES.values()}
    strangers = {n for n in ALGORITHMS if not ALGORITHMS[n].__module__.startswith("spac_theory.")}
    assert playing == set(ALGORITHMS) - strangers
    assert all(len(entry.settings) <= BUDGET for entry in ENTRIES.values())
    assert {entry.needs for entry in ENTRIES.values()} <= set(COEFFICIENTS) | set(NOT_NUMBERS)


def test_the_page_of_an_algorithm_names_the_coefficient_of_its_entry():
    """docs/methods says in the paragraph on coverage what `needs` says in the league."""
    page_of = pages()
    for label, entry in ENTRIES.items():
        if entry.algorithm in ("uniform", "behaviour_cloning"):
            continue
        text = (PAGES / page_of[entry.algorithm]).read_text(encoding="utf-8")
        paragraph = text.partition("about coverage\n")[2].partition("\n## ")[0]
        assert f"`{entry.needs}`" in paragraph, label


def test_coefficients_by_hand():
    """Two contexts, the best action covered at `p`: ratios from the definitions."""
    problem = make_problem("rare_lucky", contexts=2, actions=4)
    mu = make_behaviour("coverage").policy(problem, 0.2)
    found = coefficients(problem, mu, 0.0)
    assert set(found) == set(COEFFICIENTS)
    assert found["coverability"] == 4
    assert found["KL ball"] == pytest.approx(1)
    assert found["KL ball R/β"] == pytest.approx(float(1 / mu.min()))
    # Best, winners' law and C = ½ Σ_a (π* − chosen)²-type norm, by least squares on the Laplacian.
    best, total = problem.bandit.optimal_policy, 0.0
    for x in range(2):
        win = torch.sigmoid(problem.bandit.reward[x][:, None] - problem.bandit.reward[x])
        chosen = 2 * (mu[x][:, None] * mu[x] * win).sum(-1)
        weight = mu[x][:, None] * mu[x] * 2
        laplacian = 0.5 * (torch.diag(weight.sum(-1)) - weight)
        shift = 0.5 * (best[x] - chosen)
        total += float(shift @ torch.linalg.pinv(laplacian) @ shift)
    assert found["C(π*; chosen)"] == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"entries": ["dop"]}, "entries"), ({"seeds": 1}, "seeds"), ({"n": []}, "n is empty"),
     ({"problem": {"name": "nowhere"}}, "problem"), ({"labels": -1}, "labels"),
     ({"behaviour": {"name": "coverage", "dials": [1.5]}}, "dial")],
)  # fmt: skip
def test_bad_configurations_are_refused_before_any_work(changes, field, tmp_path):
    with pytest.raises(InputError, match=field):
        read_league(config(tmp_path / "store", **changes))
    assert not (tmp_path / "store").exists()


def test_a_small_season(tmp_path):
    league = read_league(config(tmp_path, entries=["spac", "dpo", "xpo", "spo", "uniform"]))
    rows = season(league, QUIET)
    counted = rows.group_by("algorithm", "tuning").len()
    assert counted["len"].to_list() == [4] * 10
    lines = {line["algorithm"]: line for line in summary(rows).to_dicts()}
    assert lines["xpo"]["queries"] == 20
    assert lines["spac"]["queries"] == 0
    want = rows.filter(pl.col("algorithm") == "dpo", pl.col("tuning") == "tuned")
    assert abs(lines["dpo"]["mean_tuned"] - want["suboptimality"].mean()) < 1e-12
    covered = coverage_rows(league)
    needed = {label: entry.needs for label, entry in league.entries.items()}
    needs = {line["algorithm"]: line for line in needs_table(rows, covered, needed)}
    # For a table with ν = μ, C(π*) = χ²/2 = (1/0.2 − 1)/2 at coverage 0.2.
    assert abs(needs["spac"]["coefficient"] - 2.0) < 1e-9
    out = tmp_path / "report"
    write_report(out, rows, covered, needed, QUIET)
    assert {p.name for p in out.iterdir()} == {"results.parquet", "league.md", "league.png"}


def test_where_no_reward_explains_the_preferences_entries_are_judged_by_how_far_they_are_beaten(
    tmp_path,
):
    """The uniform policy's exploitability by a plain loop; the Borda score's suboptimality beside it."""
    cyclic = {"name": "cyclic", "contexts": 2, "actions": 3}
    league = read_league(
        config(tmp_path / "store", problem=cyclic, entries=["uniform", "mpo", "mle_greedy"],
               behaviour={"name": "temperature", "dials": [1.0]}, n=[3000])
    )  # fmt: skip
    rows = season(league, QUIET)
    lines = {line["algorithm"]: line for line in summary(rows).to_dicts()}
    chance = make_problem("cyclic", contexts=2, actions=3).preference.probability.tolist()
    beaten = sum(max(sum(row) / 3 for row in context) - 0.5 for context in chance) / 2
    borda = [[sum(row) / 3 for row in context] for context in chance]
    missed = sum(max(scores) - sum(scores) / 3 for scores in borda) / 2
    assert lines["uniform"]["mean_tuned"] == pytest.approx(beaten, abs=1e-12)
    assert lines["uniform"]["borda"] == pytest.approx(missed, abs=1e-12)
    assert lines["mpo"]["mean_tuned"] < lines["mle_greedy"]["mean_tuned"]
    covered = coverage_rows(league)
    needed = {label: entry.needs for label, entry in league.entries.items()}
    write_report(tmp_path, rows, covered, needed, QUIET)
    said = (tmp_path / "league.md").read_text(encoding="utf-8")
    assert "Exploitability is averaged" in said
    assert "suboptimality, tuned" in said


def test_a_second_season_computes_nothing(tmp_path, monkeypatch):
    league = read_league(config(tmp_path, entries=["dpo"]))
    first = season(league, QUIET)
    monkeypatch.setattr("spac_theory.algorithms.dpo.DpoClosedForm.fit", None)
    assert first.equals(season(league, QUIET))


def test_structured_methods_play_where_actions_have_parts_and_say_why_not_elsewhere(tmp_path):
    sets = {"name": "item_sets", "contexts": 2, "items": 2}
    rows = season(read_league(config(tmp_path, problem=sets, entries=["spo"])), QUIET)
    assert set(rows["status"]) == {"done"}
    five = {"name": "rare_lucky", "contexts": 2, "actions": 5}
    rows = season(read_league(config(tmp_path, problem=five, entries=["spo"])), QUIET)
    assert set(rows["status"]) == {"skipped"}
    assert all("5" in reason for reason in rows["reason"])


def test_a_failure_is_a_row_and_not_the_end(tmp_path, monkeypatch):
    def broken(self, view, data, oracle=None):
        raise ArithmeticError("no luck")

    monkeypatch.setattr("spac_theory.algorithms.uniform.Uniform.fit", broken)
    rows = season(read_league(config(tmp_path, entries=["uniform", "dpo"])), QUIET)
    failed = rows.filter(pl.col("algorithm") == "uniform")
    assert set(failed["status"]) == {"failed"}
    assert "no luck" in failed["reason"][0]
    assert set(rows.filter(pl.col("algorithm") == "dpo")["status"]) == {"done"}
    lines = {line["algorithm"]: line for line in summary(rows).to_dicts()}
    assert lines["uniform"]["failures"] == 8  # every data set, by default and tuned


STRANGER = """
from dataclasses import dataclass
import torch
from spac_theory.algorithms import ALGORITHMS
from spac_theory.view import Fit, TabularPolicy

@ALGORITHMS.register("most_compared")
@dataclass(frozen=True)
class MostCompared:
    sharpness: float = 1.0

    def skip(self, view, oracle):
        return None

    def fit(self, view, data, oracle=None):
        seen = (data.compared.sum(-1).double() + 1) ** self.sharpness
        return Fit(TabularPolicy(seen / seen.sum(-1, keepdim=True)), "closed form")
"""


def test_an_algorithm_from_one_outside_file_plays(tmp_path):
    file = tmp_path / "stranger.py"
    file.write_text(STRANGER)
    own = {"name": "most_compared", "sharpness": 2.0, "grid": [{"sharpness": 0.0}]}
    common = {"plugins": [str(file)], "entries": ["uniform"]}
    league = read_league(config(tmp_path / "s", extra={"mine": own}, **common))
    assert [spec["options"]["sharpness"] for spec in league.specs["mine"]] == [2.0, 0.0]
    for grid, said in (([{}] * 4, "has 4 settings"), ([2], "write a list of options")):
        with pytest.raises(InputError, match=said):
            read_league(config(tmp_path / "s", extra={"mine": {**own, "grid": grid}}, **common))
    rows = season(league, QUIET)
    mine = rows.filter(pl.col("algorithm") == "mine")
    assert set(mine["status"]) == {"done"}
    assert '"sharpness": 2.0' in mine["options"][0]
