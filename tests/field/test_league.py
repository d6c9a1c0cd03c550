"""The league: refusals before any work, one small season, and its tables."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import yaml
from rich.console import Console

from experiments.league import League, Task, coverage_rows, read, run_task
from experiments.league_entries import BUDGET, ENTRIES
from experiments.league_tables import COEFFICIENTS, needs_table, summary, write_report
from spac_theory import ALGORITHMS, InputError

CONFIG = Path(__file__).resolve().parents[2] / "conf" / "league.yaml"


def config(**changes):
    plain = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    for key in ("defaults", "hydra"):
        plain.pop(key)
    small = {"seeds": 4, "tuning_seeds": 2, "sizes": [100], "labels": 20}
    small["problem"] = {"name": "rare_lucky", "contexts": 2, "actions": 4}
    small["behaviour"] = {"name": "coverage", "dials": [0.2]}
    return {**plain, **small, **changes}


def test_every_algorithm_plays_and_tunes_within_the_same_budget():
    assert {entry.algorithm for entry in ENTRIES.values()} == set(ALGORITHMS)
    assert all(len(entry.settings) <= BUDGET for entry in ENTRIES.values())
    needs = {entry.needs for entry in ENTRIES.values()} - {"none stated"}
    assert needs <= set(COEFFICIENTS)


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"algorithms": ["dop"]}, "algorithms"), ({"seeds": 1}, "seeds"), ({"sizes": []}, "sizes"),
     ({"problem": {"name": "nowhere"}}, "problem"), ({"labels": -1}, "labels"),
     ({"behaviour": {"name": "coverage", "dials": [1.5]}}, "dial")],
)  # fmt: skip
def test_bad_configurations_are_refused_before_any_work(changes, field):
    with pytest.raises(InputError, match=field):
        read(config(**changes))


def season(league: League):
    tasks = [Task(league, label, 0.2, 100) for label in league.entries]
    return [row for task in tasks for row in run_task(task)]


def test_a_small_season(tmp_path):
    league = read(config(algorithms=["spac", "dpo", "xpo", "spo", "uniform"]))
    rows = season(league)
    table = pl.DataFrame(rows, infer_schema_length=None)
    ran = table.filter(pl.col("suboptimality").is_not_null())
    assert ran.group_by("algorithm", "options").len()["len"].to_list() == [4] * 10
    lines = {line["algorithm"]: line for line in summary(rows).to_dicts()}
    assert lines["xpo"]["queries"] == 20
    assert lines["spac"]["queries"] == 0
    want = ran.filter(pl.col("algorithm") == "dpo", pl.col("options") == "tuned")["suboptimality"]
    assert abs(lines["dpo"]["mean_tuned"] - want.mean()) < 1e-12
    covered = coverage_rows(league)
    needs = {line["algorithm"]: line for line in needs_table(rows, covered)}
    # For a table with ν = μ, C(π*) = χ²/2 = (1/0.2 − 1)/2 at coverage 0.2.
    assert abs(needs["spac"]["coefficient"] - 2.0) < 1e-9
    write_report(tmp_path, rows, covered, Console(quiet=True))
    assert {p.name for p in tmp_path.iterdir()} == {"league.csv", "league.md", "league.png"}


def test_structured_methods_play_where_actions_have_parts_and_say_why_not_elsewhere():
    league = read(config(problem={"name": "item_sets", "contexts": 2, "items": 2},
                         algorithms=["spo"]))  # fmt: skip
    assert {row["status"] for row in season(league)} == {"done"}
    league = read(config(problem={"name": "rare_lucky", "contexts": 2, "actions": 5},
                         algorithms=["spo"]))  # fmt: skip
    assert all(row["status"] == "skipped" and "5" in row["reason"] for row in season(league))


def test_a_failure_is_a_row_and_not_the_end(monkeypatch):
    from spac_theory.algorithms.simple import Uniform

    def broken(self, view, data, oracle=None):
        raise ArithmeticError("no")

    monkeypatch.setattr(Uniform, "fit", broken)
    rows = season(read(config(algorithms=["uniform", "dpo"])))
    assert {r["status"] for r in rows if r["algorithm"] == "uniform"} == {"failed"}
    assert {r["status"] for r in rows if r["algorithm"] == "dpo"} == {"done"}
