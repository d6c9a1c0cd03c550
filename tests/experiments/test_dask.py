"""Sweeps on workers of Dask: the same bits, workers that die, schedulers that are not there."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from experiments.common.files import StorageError
from experiments.common.program import composed
from experiments.engine import dask as engine
from experiments.engine.collect import collect
from experiments.engine.dask import run_on_dask
from experiments.engine.executor import DIED, run_units
from experiments.engine.launcher import Dask
from experiments.engine.store import read_results
from experiments.engine.units import Unit
from experiments.studies.sweep.again import differences
from experiments.studies.sweep.cells import read_sweep
from experiments.studies.sweep.run import pending_units
from spac_theory import InputError

from .tools import ROOT, command, environment, plugin, settings

distributed = pytest.importorskip("distributed", reason="needs the extra `dask`")


def work(folder: Path, *words: str) -> list[Unit]:
    """The units of a small sweep whose store is in `folder`."""
    sweep = read_sweep(settings(folder, *words, algorithms="uniform,mle_greedy"))
    (folder / "store").mkdir(parents=True, exist_ok=True)
    return pending_units(sweep, folder / "store")


def here(folder: Path, *words: str) -> pl.DataFrame:
    """The rows of the same sweep, computed in this process."""
    units = work(folder, *words)
    assert len(list(run_units(units, 0))) == len(units)
    return collect(units, 4)


@contextmanager
def threads(workers: int, each: int = 1) -> Iterator[str]:
    """The address of a scheduler whose workers are threads of this process: quick to start."""
    with distributed.LocalCluster(
        n_workers=workers, threads_per_worker=each, processes=False, protocol="tcp",
        dashboard_address=None, silence_logs=50, scheduler_kwargs=engine.NO_PAGE,
    ) as cluster:  # fmt: skip
        yield cluster.scheduler_address


def test_a_worker_that_dies_costs_its_own_fit_alone(tmp_path: Path) -> None:
    """Real processes: n = 50 kills its worker, then a second one; n = 400 has the bits of this process."""
    path = plugin(tmp_path, "kills_dask")
    words = (f"plugins=[{path}]", "+algorithm.killer={name: kills_dask, dies_at: 50}")
    units = work(tmp_path / "dask", *words)
    reports = list(run_on_dask(units, None, 1, 120))
    assert [r for report in reports for r in report.failed] == [f"killer ({units[0]}): {DIED}"]
    table = collect(units, 4)
    outcome = table.select("algorithm", "n", "status").unique()
    assert outcome.filter(pl.col("status") != "done").rows() == [("killer", 50, "failed")]
    assert outcome.height == 6
    assert differences(here(tmp_path / "here"), _without_killer(table)) == []


def _without_killer(table: pl.DataFrame) -> pl.DataFrame:
    kept = table.filter(pl.col("algorithm") != "killer")
    return kept.drop([name for name in kept.columns if name == "most"])


def test_a_full_disk_ends_the_sweep(tmp_path: Path) -> None:
    units = work(tmp_path)
    (tmp_path / "store" / "cells").write_text("a file where a folder should be")
    with threads(1) as address, pytest.raises(StorageError, match="cannot hold files"):
        list(run_on_dask(units, address, 1, 30))


def test_an_error_of_a_worker_is_a_row_that_failed(tmp_path: Path) -> None:
    unit = work(tmp_path)[0]
    broken = replace(unit, device="no device")
    with threads(1) as address:
        (report,) = run_on_dask([broken], address, 1, 30)
    assert len(report.failed) == 2
    assert unit.cell("uniform").attempts(0) == 1


def test_where_there_is_no_scheduler_a_sentence_says_so(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        for address in (f"tcp://127.0.0.1:{free.getsockname()[1]}", "nowhere", "http://x:1"):
            with pytest.raises(InputError, match=r"where no Dask scheduler answers; .*machine\.$"):
                list(run_on_dask(work(tmp_path), address, 1, 0.5))


def test_a_scheduler_without_workers_is_told_apart(tmp_path: Path) -> None:
    with (
        threads(0) as address,
        pytest.raises(InputError, match=r"has had no worker for 0\.5 s; start"),
    ):
        list(run_on_dask(work(tmp_path), address, 1, 0.5))


def test_a_worker_of_several_threads_is_refused(tmp_path: Path) -> None:
    with (
        threads(1, each=2) as address,
        pytest.raises(InputError, match=r"has 2 threads.*--nthreads 1"),
    ):
        list(run_on_dask(work(tmp_path), address, 1, 30))


def test_a_scheduler_that_goes_away_is_one_sentence(tmp_path: Path) -> None:
    units = work(tmp_path, "grid.n=[50,60,70,80]")
    with threads(1) as address, distributed.Client(address) as other:
        reports = run_on_dask(units, address, 1, 5)
        assert next(reports).fits == 2
        other.shutdown()
        with pytest.raises(
            InputError, match=r"^The Dask scheduler at tcp.* went away; run the same"
        ):
            list(reports)


def test_a_client_that_has_lost_its_scheduler_has_no_workers_to_count() -> None:
    """What Dask answers while it tries to reach a scheduler again: facts without workers."""

    class Lost:
        def scheduler_info(self) -> dict[str, str]:
            return {}

    with pytest.raises(OSError):  # noqa: PT011 - that of a closed connection
        engine._workers(Lost())


def test_a_worker_with_other_versions_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker is a thread of ours, so its version is the second that is asked for."""
    versions = iter(["2.8.0", "2.9.0"])
    monkeypatch.setattr(engine, "PACKAGES", ("torch",))
    monkeypatch.setattr(engine, "environment", lambda: {"torch": next(versions)})
    with (
        threads(1) as address,
        pytest.raises(InputError, match=r"^torch is 2\.9\.0 .* and 2\.8\.0 here"),
    ):
        list(run_on_dask(work(tmp_path), address, 1, 30))


def test_without_the_extra_a_sentence_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"needs distributed; .*pip install -e '\.\[dask\]'"):
        list(run_on_dask(work(tmp_path), None, 1, 1))


def test_an_address_and_workers_of_ones_own_are_refused_together() -> None:
    with pytest.raises(InputError, match="give one of the two"):
        Dask("dask", address="tcp://10.0.0.1:8786", processes=2).check()


# --- several processes, as on several machines ---------------------------------------------------


@contextmanager
def started(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program of Dask, in a group of its own that is ended after."""
    every = [sys.executable, "-m", "dask", *words]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(every, env=environment(), cwd=ROOT, start_new_session=True, **quiet)
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def until(ready: Callable[[], object], seconds: float = 300) -> None:
    limit = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_machine_and_then_the_scheduler_go_away(tmp_path: Path) -> None:
    """Two workers without nannies: one is killed, then the scheduler; then all is started anew."""
    address = f"tcp://127.0.0.1:{free_port()}"
    sizes = f"grid.n={[50 + 10 * i for i in range(16)]}".replace(" ", "")
    words = (
        "problem.contexts=2", "problem.actions=4", "behaviour.dials=[0.2]", sizes, "grid.seeds=4",
        "grid.block=4", "algorithm=[spac_sqrt_n,dpo_gradient]", "figure.formats=[]",
    )  # fmt: skip
    remote = (*words, "launcher=dask", f"launcher.address={address}", "launcher.patience=60")
    every = command(
        "experiments.coverage_sweep", tmp_path / "a", *remote, f"store={tmp_path / 'store'}"
    )
    scheduler = ("scheduler", "--host", address, "--no-dashboard")
    worker = (
        "worker",
        address,
        "--nthreads",
        "1",
        "--no-nanny",
        "--no-dashboard",
        "--memory-limit",
        "0",
    )

    def done() -> int:
        return len(list((tmp_path / "store").glob("cells/*/block-*.parquet")))

    with started(*scheduler) as head, started(*worker) as one, started(*worker):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        sweep = subprocess.Popen(every, env=environment(), cwd=tmp_path, text=True, **pipes)
        until(lambda: done() >= 4)
        end(one)
        before = done()
        until(lambda: done() >= before + 4)
        end(head)
        _, errors = sweep.communicate(timeout=300)
    assert sweep.returncode == 2, errors
    assert errors.splitlines()[-1].startswith("The Dask scheduler at tcp://127.0.0.1")
    assert "Traceback" not in errors
    assert done() < 32
    with started(*scheduler), started(*worker):
        again = subprocess.run(every, env=environment(), cwd=tmp_path, timeout=500)
    assert again.returncode == 0
    own = read_sweep(composed("coverage_sweep", *words, f"store={tmp_path / 'own'}"))
    units = list(own.units(tmp_path / "own"))
    list(run_units(units, 0))
    assert differences(collect(units, 4), read_results(tmp_path / "a")) == []
