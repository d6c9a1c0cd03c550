"""The command line, as a user meets it."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from experiments.common.choices import unknown_choice
from experiments.common.program import CONFIGURATION
from experiments.engine.store import read_results

from .tools import SMALL, command, environment, files, plugin, run

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
    config = run(command(SWEEP, tmp_path, "algorithm=[dpo]", "--cfg", "job"), tmp_path)
    assert config.returncode == 0
    assert "ridge: 1.0" in config.stdout


CHOICES = [
    (["algorithm=[dpo]", "problem=linear", "grid=quick"], None),
    (["+algorithm.mine={name: x}", "problem.seed=0,1", "~algorithm.dpo", "--multirun"], None),
    (["algorithm=[none]"], "algorithm is 'none'; it must be one of: behaviour_cloning, "),
    (["problem=tab"], "problem is 'tab' (did you mean 'tabular'?); "),
    (["problem=linear,tabulr", "--multirun"], "problem is 'tabulr' (did you mean 'tabular'?); "),
    (["algorithm=[dpo],[dp]", "--multirun"], "algorithm is 'dp' (did you mean 'dpo'?); "),
]


@pytest.mark.parametrize(("words", "message"), CHOICES)
def test_a_choice_without_a_file_is_named(words: list[str], message: str | None) -> None:
    found = unknown_choice(words, Path(CONFIGURATION))
    assert found is None if message is None else found is not None and found.startswith(message)


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
    figures = [f"suboptimality_{x}.{kind}" for x in ("n", "coverage") for kind in ("png", "pdf")]
    for name in figures:
        head = (tmp_path / "out" / name).read_bytes()[:4]
        assert head == (b"%PDF" if name.endswith("pdf") else b"\x89PNG")


@pytest.mark.parametrize("words", [("problem.seed=0,1",)])
def test_multirun_runs_one_grid_a_job(tmp_path: Path, words: tuple[str, ...]) -> None:
    base = [*SMALL, "algorithm=[uniform]", "figure.formats=[]", f"hydra.sweep.dir={tmp_path}/m"]
    done = run([*command(SWEEP, tmp_path / "x", *base, *words), "--multirun"], tmp_path)
    assert done.returncode == 0, done.stderr
    tables = list((tmp_path / "m").rglob("results.parquet"))
    assert len(tables) == 2
    assert {read_results(t)["problem"][0] for t in tables} == {
        "rare_lucky(actions=4, contexts=2)",
        "rare_lucky(actions=4, contexts=2, seed=1)",
    }
