"""The command line, as a user meets it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from experiments.store import read_results

from .tools import SMALL, command, environment, plugin, run

SWEEP = "experiments.coverage_sweep"
BAD = [
    ("experiments.coverage_sweep", "grid.n=[0]", "grid.n is 0"),
    ("experiments.coverage_sweep", "algorithm.spac_fixed.scale=-1", "algorithm.spac_fixed: scale"),
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
    unknown = run(command(SWEEP, tmp_path, "algorithm=[none]"), tmp_path)
    assert unknown.returncode != 0
    assert "Could not load 'algorithm/none'" in unknown.stderr
    assert "Traceback" not in unknown.stderr


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
        "rare_lucky-2x4-0.025-0",
        "rare_lucky-2x4-0.025-1",
    }
