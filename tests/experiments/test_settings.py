"""Settings: read with types, refused in sentences, and refused before any work, by every program."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hydra.core.global_hydra import GlobalHydra
from pydantic import Field

from experiments.common.choices import near
from experiments.common.configuration import Comparisons, Count, Probability, Several, read
from experiments.common.program import BAD_INPUT, DISK_REFUSED, launch
from spac_theory import InputError

from .fuzz import fuzz
from .fuzz_inputs import findings
from .fuzz_inputs import fuzz as fuzz_inputs
from .tools import ROOT, environment


@dataclass(frozen=True)
class Grid:
    n: Several[Comparisons]
    seeds: Count
    most: Count | None = None


@dataclass(frozen=True)
class Here:
    name: Literal["here"]
    processes: Count = 1


@dataclass(frozen=True)
class There:
    name: Literal["there"]
    jobs: Count


@dataclass(frozen=True)
class Settings:
    grid: Grid
    where: Annotated[Here | There, Field(discriminator="name")]
    delta: Probability
    own: dict[str, Any]
    dry: bool = False
    parts: dict[str, Grid] | None = None

    def __post_init__(self) -> None:
        if self.delta > 0.5:
            raise InputError(f"delta is {self.delta}; more than one half is a joke.")


GOOD: dict[str, Any] = {
    "grid": {"n": [1e2, 100, 300], "seeds": 3},
    "where": {"name": "there", "jobs": 2},
    "delta": 0.1,
    "own": {"a": [1, 2.5], "b": None},
}


def test_whole_floats_single_values_and_defaults_are_read() -> None:
    found = read(Settings, GOOD)
    assert found == Settings(
        Grid((100, 300), 3), There("there", 2), 0.1, {"a": [1, 2.5], "b": None}
    )
    assert read(Grid, {"n": 5, "seeds": 1}).n == (5,)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"delta": 1}, ["delta is 1; it must be below 1."]),
        ({"delta": "0.1"}, ["delta is '0.1'; it must be a number."]),
        ({"delta": float("nan")}, ["delta is nan; it must be a finite number."]),
        ({"delta": 0.7}, ["delta is 0.7; more than one half is a joke."]),
        ({"dry": "maybe"}, ["dry is 'maybe'; it must be true or false."]),
        ({"grid": None}, ["grid is None; it must be a mapping."]),
        ({"gird": 1}, ["gird is no setting (did you mean 'grid'?); the configuration has: "]),
        (
            {"grid": {"n": [], "seeds": True}},
            ["grid.n is empty", "grid.seeds is True; it must be a whole"],
        ),
        ({"grid": {"n": [2**70], "seeds": 1.5}}, ["grid.n is 11805916207", "grid.seeds is 1.5"]),
        ({"grid": {"seeds": 1}}, ["grid.n is missing from the configuration."]),
        (
            {"where": {"name": "nowhere"}},
            ["where.name is 'nowhere'; it must be one of: here, there."],
        ),
        (
            {"where": {"name": "here", "jobs": 1}},
            ["where.jobs is no setting; where has: name, processes."],
        ),
        ({"where": {}}, ["where.name is missing"]),
        (
            {"parts": {"x": {"n": 1, "seed": 2}}},
            ["parts.x.seeds is missing", "parts.x.seed is no setting"],
        ),
        ({"own": 3}, ["own is 3; it must be a mapping."]),
        ({"own": {"x": {1}}}, ["the configuration holds what is no plain value"]),
    ],
)
def test_all_that_is_wrong_is_said_at_once_a_sentence_each(change: Any, said: list[str]) -> None:
    with pytest.raises(InputError) as error:
        read(Settings, {**GOOD, **change})
    lines = str(error.value).splitlines()
    assert len(lines) == len(said)
    assert all(want in line for line, want in zip(sorted(lines), sorted(said), strict=True))
    assert all(line.endswith(".") for line in lines)


def test_random_bad_settings_are_refused_in_sentences_by_every_program() -> None:
    outcomes, findings = fuzz(450, seed=7)
    assert findings == []
    assert outcomes["refused"] > 300


SWEEP, LEAGUE, DIAGNOSE = "coverage_sweep", "league", "diagnose"
WORDS = [
    (SWEEP, "+learner.labels=100", "learner.labels is no setting"),
    (SWEEP, "+grid.seedz=1", "grid.seedz is no setting (did you mean 'seeds'?)"),
    (SWEEP, "+foo=1", "foo is no setting"),
    (SWEEP, "foo=1", "foo is no setting"),
    (SWEEP, "problem.context=3", "problem.context is no setting (did you mean 'contexts'?)"),
    (SWEEP, "dry_run=maybe", "dry_run is 'maybe'; it must be true or false"),
    (SWEEP, "figure.formats=[bmp]", "figure.formats is 'bmp'; it must be one of: png, pdf, svg"),
    (SWEEP, "figure.n=[0]", "figure.n is 0"),
    (SWEEP, "figure.n=[]", "figure.n is empty"),
    (SWEEP, "figure.n=[500]", "figure.n holds 500, which is no sample size"),
    (SWEEP, "figure.floor=0", "figure.floor is 0"),
    (SWEEP, "figure.algorithms=[nope]", "figure.algorithms holds 'nope'"),
    (SWEEP, "store=3", "store is 3; it must be text"),
    (SWEEP, "store=null", "store is None; it must be text"),
    (SWEEP, "grid=null", "grid is 'null'; it must be one of: default"),
    (SWEEP, "problem=null", "problem is 'null'"),
    (SWEEP, "plugins=true", "plugins is True; it must be a list"),
    (
        SWEEP,
        "grid.n=[100000000000000000000]",
        "grid.n is 100000000000000000000; it must be at most",
    ),
    (SWEEP, "problem.reward_range=[0,1000]", "problem.reward_range is [0, 1000]"),
    (
        SWEEP,
        "problem={name: kernel, norm_bound: 1e6, contexts: 3}",
        "problem has the name 'kernel'",
    ),
    (
        SWEEP,
        "problem={name: linear}",
        "problem has the name 'linear' and the options of 'rare_lucky'",
    ),
    (SWEEP, "algorithm=[]", "algorithm is empty; choose at least one"),
    (SWEEP, "learner.delta=1e-300", "learner.delta is 1e-300"),
    (SWEEP, "+algorithm.a={name: dpo, beta: [1]}", "algorithm.a"),
    (SWEEP, "'+algorithm.\"[red]\"={name: dpo}'", ""),
    (SWEEP, "algorithm=[spac_certifid]", "did you mean"),
    (SWEEP, "problem={name: none}", "problem: problem is 'none'"),
    (SWEEP, "launcher.processes=-1", "launcher.processes is -1; it must be at least 0"),
    (
        SWEEP,
        "launcher.device=cuda:99",
        "launcher.device is 'cuda:99', which this machine does not have",
    ),
    (
        LEAGUE,
        "launcher.device=hearts",
        "launcher.device is 'hearts', which this machine does not have",
    ),
    (LEAGUE, "sizes=[300]", "sizes is no setting (its name is 'n' now)"),
    (LEAGUE, "+processes=2", "processes is no setting (its name is 'launcher.processes' now)"),
    (LEAGUE, "algorithms=[spac]", "algorithms is no setting (its name is 'entries' now)"),
    (LEAGUE, "entries=[spack]", "entries is 'spack'"),
    (SWEEP, "figure.sizes=[300]", "figure.sizes is no setting (its name is 'n' now)"),
    (SWEEP, "algorithms=[dpo]", "algorithms is no setting (did you mean 'algorithm'?)"),
    ("rates", "problem=linear", "problem is no group here"),
    (LEAGUE, "problem.name=item_sets", "write problem=item_sets where conf/problem has that file"),
    (SWEEP, "problem.name=linear", "write problem=linear where conf/problem has that file"),
    (LEAGUE, "seeds=abc", "seeds is 'abc'; it must be a whole number"),
    (LEAGUE, "+extra.spac={name: dpo}", "extra holds 'spac'"),
    (DIAGNOSE, "reference=5", "reference is 5; it must be text"),
    (DIAGNOSE, "algorithm=[]", "algorithm is empty; choose at least one"),
    (DIAGNOSE, "+foo=1", "foo is no setting"),
    ("rates", "coverages=[2.0]", "coverages is 2.0; it must be below 0.9"),
    ("rates", "coverages=[]", "coverages is empty"),
    ("rates", "n=[10000]", "n is [10000]; a slope needs at least two sample sizes"),
    ("rates", "seeds=abc", "seeds is 'abc'"),
    ("optimisation", "iterations=[]", "iterations is empty"),
    ("optimisation", "problems=[nope]", "problems is 'nope'"),
    ("lambda_choice", "scales=[]", "scales is empty"),
    ("lambda_choice", "scales=[0]", "scales is 0; it must be above 0"),
    ("baseline", "seeds=0", "seeds is 0; it must be at least 1"),
    ("misspecification", "seeds=0", "seeds is 0"),
    ("misspecification", "dials.trap=[-1]", "dials.trap is -1; it must be at least 0"),
    ("violations", "seeds=20", "seeds is no setting"),
]


@pytest.mark.parametrize(("name", "word", "said"), WORDS, ids=lambda value: str(value)[:40])
def test_a_bad_word_of_the_command_line_is_a_sentence_and_exit_code_2(
    name: str,
    word: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mains = {
        SWEEP: "sweep.run:coverage_sweep",
        LEAGUE: "league.season:run_league",
        DIAGNOSE: "diagnosis.run:diagnose",
    }
    log = tmp_path / "log.csv"
    log.write_text("context,winner,loser\n0,1,0\n")
    words = [f"hydra.run.dir={tmp_path}/out", word.strip("'")]
    words += [f"data={log}"] if name == DIAGNOSE else [f"store={tmp_path}/store"]
    if word.startswith("store="):
        words = words[:-1]
    monkeypatch.setattr(sys, "argv", ["program", *words])
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit) as end:
        launch(f"experiments.{name}", f"experiments.studies.{mains.get(name, f'{name}:STUDY')}")
    GlobalHydra.instance().clear()
    error = capsys.readouterr().err
    assert end.value.code == BAD_INPUT, error
    assert said in error
    assert "Traceback" not in error
    assert all(line.endswith(".") for line in error.strip().splitlines()), error
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("old", "known", "said"),
    [
        ("rows", ["data", "model"], " (its name is 'data' now)"),
        ("processes", ["launcher"], " (its name is 'launcher.processes' now)"),
        ("sizes", ["contexts", "store"], ""),
    ],
)
def test_a_former_name_is_refused_with_the_one_it_has_where_there_is_one(
    old: str, known: list[str], said: str
) -> None:
    assert near(old, known) == said


def test_an_output_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    words = [sys.executable, "-m", "experiments.baseline", f"hydra.run.dir={tmp_path}/file/below"]
    done = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == DISK_REFUSED, done.stderr
    assert done.stderr.count("\n") == 1


def test_random_malformed_inputs_are_taken_or_refused_by_every_reader() -> None:
    found = fuzz_inputs(1500, seed=7)
    assert findings(found) == []
    assert all(counts["refused"] >= 25 for counts in found.values())
