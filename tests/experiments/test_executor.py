"""Workers that die, a sweep that is killed: what is lost, and what is not."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import polars as pl
import pytest

from experiments.engine.collect import collect
from experiments.engine.executor import DIED, run_units
from experiments.engine.store import read_results
from experiments.studies.sweep.cells import read_sweep
from experiments.studies.sweep.run import coverage_sweep, pending_units

from .tools import SMALL, command, comparable, environment, plugin, settings


def test_a_worker_that_dies_costs_its_own_unit_alone(tmp_path: Path) -> None:
    """n = 50 kills its worker and the pool, twice; its neighbour n = 60 is done again, 400 later."""
    path = plugin(tmp_path, "stranger_kills")
    words = (
        f"plugins=[{path}]",
        "+algorithm.killer={name: stranger_kills, dies_at: 50}",
        "grid.n=[50,60,400]",
    )
    wanted = settings(tmp_path, *words, algorithms="uniform")
    sweep, store = read_sweep(wanted), Path(wanted["store"])
    reports = list(run_units(pending_units(sweep, store), 2))
    assert sum(len(report.failed) for report in reports) == 1
    table = collect(sweep.units(store), sweep.seeds)
    outcome = table.select("algorithm", "n", "status").unique()
    assert outcome.filter(pl.col("status") != "done").rows() == [("killer", 50, "failed")]
    assert outcome.height == 6
    assert table.filter(pl.col("status") == "failed")["reason"].unique().to_list() == [DIED]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to find the workers")
def test_kill_and_run_again_gives_the_same_bits(tmp_path: Path) -> None:
    words = (
        "grid.n=[50,100,200,400,800]",
        "grid.seeds=6",
        "grid.block=3",
        "launcher.processes=2",
        "algorithm=[spac_sqrt_n,dpo_gradient]",
        "algorithm.dpo_gradient.steps=1500",
    )
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen(
        command("experiments.coverage_sweep", killed, f"store={killed}", *SMALL[:3], *words),
        env=environment(),
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    _wait_for(lambda: len(list(killed.glob("cells/*/block-*.parquet"))) >= 3)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGKILL)
    process.wait()
    _wait_for(lambda: not any(_runs(int(pid)) for pid in workers))
    written = {p: p.read_bytes() for p in killed.glob("cells/*/block-*.parquet")}
    assert 3 <= len(written) < 20
    for folder in (killed, whole):
        again = settings(
            folder, *words, f"store={folder}", "launcher.processes=0", "figure.formats=[]"
        )
        assert coverage_sweep(again, folder)
    assert all(path.read_bytes() == content for path, content in written.items())
    assert comparable(read_results(killed)).equals(comparable(read_results(whole)))


def _wait_for(ready: object, seconds: float = 60) -> None:
    assert callable(ready)
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (OSError, IndexError):
        return False
