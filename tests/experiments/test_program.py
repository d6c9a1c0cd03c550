"""The command line, as a user meets it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra

from experiments.common.program import folder, launch
from experiments.common.provenance import commit
from experiments.engine.store import read_results
from spac_theory.console import PROGRAMS

from .tools import ROOT, SMALL, command, environment, files, plugin, run

SWEEP = "experiments.coverage_sweep"
BAD = [
    ("experiments.coverage_sweep", "grid.n=[0]", "grid.n is 0"),
    ("experiments.coverage_sweep", "algorithm.spac_fixed.scale=-1", "algorithm.spac_fixed: scale"),
    ("experiments.coverage_sweep", "algorithm=[dpo,spac_sqrtn]", "did you mean 'spac_sqrt_n'?"),
    ("experiments.diagnose", "data=none.csv", "data is 'none.csv'"),
]


def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    running = [
        subprocess.Popen(
            command(module, tmp_path / str(i), word),
            cwd=tmp_path,
            env=environment(),
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for i, (module, word, _) in enumerate(BAD)
    ]
    for process, (_, _, message) in zip(running, BAD, strict=True):
        out, error = process.communicate(timeout=120)
        assert process.returncode == 2
        assert out == ""
        assert message in error
        assert error.strip().count("\n") == 0
        assert error.strip().endswith(".")
    assert not list(tmp_path.rglob("*.parquet"))


def test_help_and_the_configuration_are_readable(tmp_path: Path) -> None:
    text = run(command(SWEEP, tmp_path, "--help"), tmp_path)
    assert text.returncode == 0
    for word in ("python -m experiments.coverage_sweep", "spac_certified_theorem", "Exit code"):
        assert word in text.stdout
    assert "accelerate" not in text.stdout  # a group of other programs cannot be chosen here
    config = run(command(SWEEP, tmp_path, "algorithm=[dpo]", "--cfg", "job"), tmp_path)
    assert config.returncode == 0
    assert "ridge: 1.0" in config.stdout


CHOICES = [
    (["algorithm=[none]"], "algorithm is 'none'; it must be one of: behaviour_cloning, "),
    (
        ["grid=quik"],
        "grid is 'quik' (did you mean 'quick'?); it must be one of: default, quick, smoke.",
    ),
    (["problem=tab"], "problem is 'tab' (did you mean 'tabular'?); "),
    (["problem=linear,tabulr", "--multirun"], "problem is 'tabulr' (did you mean 'tabular'?); "),
    (["algorithm=[dpo],[dp]", "--multirun"], "algorithm is 'dp' (did you mean 'dpo'?); "),
    (["algorithm=[nudg]", "--config-dir=own"], "algorithm is 'nudg' (did you mean 'nudge'?); "),
]


@pytest.mark.parametrize(("words", "message"), CHOICES)
def test_a_choice_without_a_file_is_named(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["program", *words])
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit) as end:
        launch(SWEEP, "experiments.studies.sweep.run:coverage_sweep")
    GlobalHydra.instance().clear()
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith(message)


def own_folder(folder: Path) -> None:
    """A configuration of one's own: an algorithm under a name, a problem, a behaviour."""
    for name, text in {
        "algorithm/nudge.yaml": "nudge:\n  name: dpo\n  beta: 0.5\n",
        "problem/mine.yaml": "name: rare_lucky\ncontexts: 2\nactions: 4\n",
        "behaviour/half.yaml": "name: coverage\ndials: [0.5]\n",
    }.items():
        (folder / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "own" / name).write_text(text)


def test_a_configuration_folder_of_ones_own_chooses_and_results_say_all_of_it(
    tmp_path: Path,
) -> None:
    own_folder(tmp_path)
    words = [
        "algorithm=[nudge]",
        "problem=mine",
        "behaviour=half",
        "grid=smoke",
        "figure.formats=[]",
    ]
    words += ["launcher.processes=0", f"store={tmp_path}/store", "learner.delta=0.2"]
    done = run([sys.executable, "-m", SWEEP, "--config-dir", "own", *words], tmp_path)
    assert done.returncode == 0, done.stderr
    (place,) = (tmp_path / "outputs").iterdir()
    assert re.fullmatch(r"[\w.=,+-]+", place.name)  # nothing that a shell or a glob would read
    assert place.name != "coverage_sweep"  # the headline's folder is its own
    told = {
        k.decode(): v.decode()
        for k, v in pq.read_schema(place / "results.parquet").metadata.items()
    }
    settings = json.loads(told["configuration"])
    assert settings["algorithm"]["nudge"]["beta"] == 0.5
    assert (settings["learner"]["delta"], settings["behaviour"]["dials"]) == (0.2, [0.5])
    assert told["commit"] == commit()
    assert told["command"].startswith("python -m experiments.coverage_sweep --config-dir own")


def test_every_configuration_has_a_folder_of_its_own() -> None:
    names = ["", "grid=quick", "algorithm=[a,b]", "algorithm=[a],b", "x" * 300, "x" * 299 + "y"]
    found = [folder(words, "outputs/sweep") for words in names]
    assert len(set(found)) == len(names)
    assert found[:2] == ["outputs/sweep", "outputs/sweep,grid=quick"]
    assert max(map(len, found)) < 120
    assert not any(set("[]*?'\" ") & set(name) for name in found)


@pytest.mark.parametrize("word", ["problem=", "grid.se", "algorithm=[dp"])
def test_a_console_script_completes_its_words(word: str, tmp_path: Path) -> None:
    script = tmp_path / "spac-sweep"
    script.write_text("from spac_theory.console import main\nmain()\n")
    line = {"COMP_LINE": f"spac-sweep {word}"}
    words = [sys.executable, str(script), "-sc", "query=bash"]
    done = subprocess.run(
        words, cwd=tmp_path, env={**environment(), **line}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    wanted = {"problem=": "problem=tabular", "grid.se": "grid.seeds=", "algorithm=[dp": ""}[word]
    assert wanted in done.stdout


def test_every_console_script_is_a_program() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["scripts"]) == set(PROGRAMS)
    for module in PROGRAMS.values():
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file(), module


def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on(tmp_path: Path) -> None:
    words = command(
        SWEEP,
        tmp_path / "out",
        "problem.contexts=2",
        "problem.actions=4",
        "grid.n=[50,400]",
        "behaviour.dials=[0.2]",
        "grid.seeds=48",
        "grid.block=4",
        "algorithm=[dpo_gradient]",
        "launcher.processes=1",
        "figure.formats=[]",
    )
    process = subprocess.Popen(
        words, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True
    )
    begin = time.monotonic()
    while not files(tmp_path) and time.monotonic() - begin < 60:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted; what is finished is kept" in error
    assert "Traceback" not in error
    kept = files(tmp_path)
    assert kept
    again = run(words, tmp_path)
    assert again.returncode == 0, again.stderr
    assert "0 failed, 0 skipped, 0 missing" in again.stdout
    assert kept.items() <= files(tmp_path).items()  # nothing finished was computed again
    assert not list(tmp_path.rglob("*.tmp*"))


def test_a_strangers_algorithm_runs_in_a_sweep_from_the_command_line(tmp_path: Path) -> None:
    path = plugin(tmp_path, "stranger_at_large")
    words = (*SMALL[:-1], "launcher.processes=1", "algorithm=[uniform]", f"plugins=[{path}]")
    mine = "+algorithm.mine={name: stranger_at_large}"
    plan = run(command(SWEEP, tmp_path / "plan", *words, mine, "dry_run=true"), tmp_path)
    assert "4 fits in 2 units would run" in plan.stdout
    assert not (tmp_path / "outputs/store").exists()
    done = run(command(SWEEP, tmp_path / "out", *words, mine), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "16 rows: 16 done, 0 failed, 0 skipped, 0 missing" in done.stdout
    assert "mine" in (tmp_path / "out/summary.md").read_text()
    assert read_results(tmp_path / "out")["most"].null_count() == 8
    for name in ("suboptimality_n", "every_algorithm"):
        for kind, head in (("png", b"\x89PNG"), ("pdf", b"%PDF")):
            assert (tmp_path / "out" / f"{name}.{kind}").read_bytes()[:4] == head


def test_multirun_runs_one_grid_a_job_and_merges_them(tmp_path: Path) -> None:
    base = [*SMALL, "algorithm=[uniform,spac_sqrt_n]", "figure.formats=[png]"]
    base += ["problem.seed=0,1", f"hydra.sweep.dir={tmp_path}/m", "--multirun"]
    words = command(SWEEP, tmp_path / "x", *base)
    done = run(words, tmp_path)
    assert done.returncode == 0, done.stderr
    tables = list((tmp_path / "m").glob("*/results.parquet"))
    assert len(tables) == 2
    assert {read_results(t)["problem"][0] for t in tables} == {
        "rare_lucky(actions=4, contexts=2)",
        "rare_lucky(actions=4, contexts=2, seed=1)",
    }
    merged = read_results(tmp_path / "m")
    assert merged.height == sum(read_results(t).height for t in tables)
    assert set(merged["job"]) == {"problem.seed=0", "problem.seed=1"}
    lines = (tmp_path / "m/summary.md").read_text().splitlines()
    for label in ("uniform", "spac_sqrt_n"):
        for job in (0, 1):
            assert sum(f"| {label} | problem.seed={job} |" in line for line in lines) == 1
    assert (tmp_path / "m/jobs.png").read_bytes()[:4] == b"\x89PNG"
    again = run([word.replace("seed=0,1", "seed=1,2") for word in words], tmp_path)
    assert again.returncode == 0, (
        again.stderr
    )  # jobs of the first multirun are not in the second's table
    assert set(read_results(tmp_path / "m")["job"]) == {"problem.seed=1", "problem.seed=2"}


def test_optuna_finds_the_better_lambda(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="pip install -e '.[optuna]'")
    words = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=1"]
    words += ["algorithm.spac_fixed.scale=choice(0.01,30)", "grid.n=[400]", "-m"]
    base = [*SMALL, "algorithm=[spac_fixed]", "figure.formats=[]", f"hydra.sweep.dir={tmp_path}/m"]
    done = run(command(SWEEP, tmp_path / "x", *base, *words), tmp_path)
    assert done.returncode == 0, done.stderr
    found = yaml.safe_load((tmp_path / "m/optimization_results.yaml").read_text())
    rows = read_results(tmp_path / "m")
    means = dict(rows.group_by("options").agg(pl.col("suboptimality").mean()).iter_rows())
    assert found["best_value"] == pytest.approx(min(means.values()), rel=1e-12)
    best = min(means, key=means.__getitem__)
    assert json.loads(best)["scale"] == found["best_params"]["algorithm.spac_fixed.scale"]
