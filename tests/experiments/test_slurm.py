"""Sweeps on a real Slurm of one node, and on submitit's pretended one: the same bits, whoever is killed."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from experiments.engine.collect import collect
from experiments.engine.executor import run_units
from experiments.engine.slurm import run_on_slurm
from experiments.engine.store import read_results
from experiments.engine.units import Unit
from experiments.studies.sweep.again import differences
from experiments.studies.sweep.cells import Sweep, read_sweep
from experiments.studies.sweep.run import pending_units
from spac_theory import InputError

from .slurm_cluster import lacking, slurm, tell
from .tools import command, environment, plugin, run, settings

SMOKE = ("grid=smoke", "algorithm=[spac_sqrt_n,dpo]", "figure.formats=[]")
SLURM = (*SMOKE, "launcher=slurm", "launcher.units_per_job=2", "launcher.parameters.mem_gb=1")
LATER = "+launcher.parameters.slurm_additional_parameters={begin: now+3600}"
Environment = dict[str, str]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """The environment of a real Slurm."""
    with slurm(tmp_path_factory.mktemp("cluster") / "slurm") as found:
        yield {**environment(), **{name: found[name] for name in ("PATH", "SLURM_CONF")}}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke sweep by processes of this machine."""
    folder = tmp_path_factory.mktemp("local")
    words = (*SMOKE, "launcher.processes=1", f"store={folder / 'store'}")
    done = run(command("experiments.coverage_sweep", folder / "out", *words), folder)
    assert done.returncode == 0, done.stderr
    return folder / "out"


def start(cluster: Environment, folder: Path, *words: str) -> subprocess.Popen[str]:
    """The smoke sweep on Slurm, in `folder`."""
    every = command(
        "experiments.coverage_sweep", folder / "out", *SLURM, f"store={folder / 'store'}", *words
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(every, env=cluster, cwd=folder, text=True, **pipes)


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    """Wait for a sweep; what it said."""
    said, errors = process.communicate(timeout=400)
    assert process.returncode == code, said + errors
    return said


def queue(cluster: Environment) -> list[str]:
    """Jobs that Slurm has, with their states."""
    return tell(cluster, "squeue", "--noheader", "--array", "--format=%i %T").splitlines()


def until(ready: Callable[[], object], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


def status(folder: Path) -> str:
    """The first line of `sweeps status`."""
    words = [*command("experiments.sweeps", folder)[:3], "status", str(folder / "out")]
    return run(words, folder).stdout.splitlines()[0]


def work(folder: Path, *words: str) -> tuple[Sweep, list[Unit]]:
    """A small sweep and its units."""
    sweep = read_sweep(settings(folder, *words, algorithms="uniform,mle_greedy"))
    return sweep, pending_units(sweep, folder / "store")


def test_a_job_that_dies_costs_its_units_and_the_others_are_the_same_bits(tmp_path: Path) -> None:
    path = plugin(tmp_path, "kills_job")
    words = (f"plugins=[{path}]", "+algorithm.killer={name: kills_job, dies_at: 50}")
    sweep, units = work(tmp_path, *words)
    reports = list(run_on_slurm(units, "local", 1, {"timeout_min": 5}, tmp_path / "logs"))
    (failed,) = [reason for report in reports for reason in report.failed]
    assert "killer" in failed
    assert "was lost" in failed
    table = collect(sweep.units(tmp_path / "store"), sweep.seeds)
    assert (table["status"] != "done").sum() == sweep.seeds
    _, units = work(tmp_path / "here")
    assert len(list(run_units(units, 0))) == 2
    here = collect(units, sweep.seeds)
    assert differences(here, table.filter(pl.col("algorithm") != "killer")[here.columns]) == []
    assert not list((tmp_path / "logs").glob("*.pkl"))


@pytest.mark.parametrize(
    ("cluster", "parameters", "said"),
    [
        (
            "local",
            {"memory": 4},
            r"^launcher\.parameters: Parameter 'memory'.*, such as slurm_partition\.$",
        ),
        ("slurm", {}, r"this machine has no srun; .* choose launcher=local\.$"),
    ],
)
def test_what_cannot_be_submitted_is_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cluster: str,
    parameters: dict[str, int],
    said: str,
) -> None:
    monkeypatch.setenv("PATH", "")
    _, units = work(tmp_path)
    with pytest.raises(InputError, match=said):
        list(run_on_slurm(units, cluster, 1, parameters, tmp_path / "logs"))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(bool(lacking()), reason=lacking() or "Slurm is there")
class TestRealSlurm:
    """One node, its own controller; cancelled jobs, a killed main process, a refused submission."""

    def test_the_numbers_of_slurm_are_those_of_processes(
        self, cluster: Environment, local: Path, tmp_path: Path
    ) -> None:
        said = finish(start(cluster, tmp_path))
        assert "40 rows: 40 done" in said
        assert differences(read_results(local), read_results(tmp_path / "out")) == []
        assert status(tmp_path) == "8 fits: 8 done, 0 failed, 0 missing"
        assert not [
            *(tmp_path / "out/slurm").glob("*.pkl"),
            *(tmp_path / "out/slurm").glob("*.json"),
        ]

    def test_a_cancelled_job_costs_its_units_and_the_same_command_does_them(
        self, cluster: Environment, local: Path, tmp_path: Path
    ) -> None:
        process = start(cluster, tmp_path, LATER)
        until(lambda: len(queue(cluster)) == 2)
        assert status(tmp_path) == "8 fits: 0 done, 0 failed, 8 missing"
        first, second = (line.split()[0] for line in queue(cluster))
        assert tell(cluster, "scancel", first) == ""
        assert tell(cluster, "scontrol", "update", f"job={second}", "StartTime=now") == ""
        said = finish(process, code=1)
        assert f"job {first} was lost" in said
        assert status(tmp_path) == "8 fits: 4 done, 4 failed, 0 missing"
        finish(start(cluster, tmp_path))
        assert differences(read_results(local), read_results(tmp_path / "out")) == []

    def test_jobs_of_a_killed_main_process_are_cancelled_by_the_next(
        self, cluster: Environment, local: Path, tmp_path: Path
    ) -> None:
        process = start(cluster, tmp_path, LATER)
        until(lambda: len(queue(cluster)) == 2)
        array = queue(cluster)[0].partition("_")[0]
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert len(queue(cluster)) == 2  # they wait on, and nobody waits for them
        again = start(cluster, tmp_path)
        until(lambda: not any(line.startswith(array) for line in queue(cluster)))
        finish(again)
        assert differences(read_results(local), read_results(tmp_path / "out")) == []
        assert queue(cluster) == []

    def test_whoever_stops_a_sweep_stops_its_jobs(
        self, cluster: Environment, tmp_path: Path
    ) -> None:
        process = start(cluster, tmp_path, LATER)
        until(lambda: len(queue(cluster)) == 2)
        process.send_signal(signal.SIGINT)
        finish(process, code=130)
        until(lambda: not queue(cluster))
        assert status(tmp_path) == "8 fits: 0 done, 0 failed, 8 missing"

    def test_what_slurm_refuses_is_one_sentence(self, cluster: Environment, tmp_path: Path) -> None:
        process = start(cluster, tmp_path, "+launcher.parameters.slurm_partition=none")
        _, errors = process.communicate(timeout=400)
        assert process.returncode == 2
        said = errors.splitlines()[-1]  # above it stand sbatch's own words
        assert said.startswith("Slurm refused 2 jobs (sbatch: error: Batch job submission failed: ")
        assert "Traceback" not in errors
