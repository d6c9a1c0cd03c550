"""The same units on the workers of a Dask scheduler (extra `dask`): several machines, or this one.

Dask hands a unit whose worker died to another one, and gives it up after some deaths; everything that a dead
worker held is suspect to it. So only as many units are handed out as there are workers, and each one that
was given up is tried once more with nothing beside it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.engine.columns import environment
from experiments.engine.executor import DIED
from experiments.engine.units import Report, Unit, fail, reason_of, run_unit
from spac_theory import InputError
from spac_theory.version import RESULTS_VERSION

PACKAGES = ("torch", "numpy", "scipy")  # their versions decide bits
KEPT = "run the same command again, finished work is kept."
LOOK = 5.0  # seconds between looks whether anybody is still there
NO_PAGE = {"dashboard": False, "dashboard_address": ":0"}  # two sweeps need no port apart
NO_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"  # it is for the parent


def run_on_dask(
    units: list[Unit], address: str | None, processes: int, patience: float
) -> Generator[Report]:
    """Run units on the workers of the scheduler at `address`; None for `processes` workers of this machine.

    All machines must see the store under the same name. Raises InputError where Dask, the scheduler, a
    worker, the store or the right versions are missing, or stay away for `patience` seconds.
    """
    if not units:
        return
    store = str(Path(units[0].store).resolve())
    queue, suspects = deque(replace(unit, store=store) for unit in units), list[Unit]()
    with _client(address, processes, patience) as client:
        _same_everywhere(client, store)
        yield from _handed_out(client, queue, suspects, patience)
        for unit in suspects:
            given_up = list[Unit]()
            yield from _handed_out(client, deque([unit]), given_up, patience)
            yield from (fail(one, DIED) for one in given_up)


# --- scheduler and workers -----------------------------------------------------------------------


@contextmanager
def _client(address: str | None, processes: int, patience: float) -> Iterator[Any]:
    """A client of a scheduler with workers; however it ends, nothing of ours is left behind."""
    try:
        import distributed
        from distributed.comm.core import CommClosedError
    except ImportError as error:
        raise InputError(
            "launcher is 'dask', which needs distributed; install it with: pip install -e '.[dask]'."
        ) from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what went wrong, we say ourselves
    with ExitStack() as stack:
        place = address or stack.enter_context(_workers_here(processes))
        try:
            client = stack.enter_context(distributed.Client(place, timeout=patience))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"launcher.address is {address!r}, where no Dask scheduler answers; start one with "
                "`python -m dask scheduler`, or choose launcher.address=null for this machine."
            ) from error
        try:
            client.wait_for_workers(1, timeout=patience)
        except TimeoutError as error:
            raise _no_worker(client, patience) from error
        try:
            yield client
        except (distributed.CancelledError, CommClosedError) as error:
            raise InputError(f"The Dask scheduler at {place} went away; {KEPT}") from error


def _workers_here(processes: int) -> Any:
    """A scheduler in this process, and workers that a nanny starts anew when they die."""
    import distributed

    return distributed.LocalCluster(
        n_workers=processes,
        threads_per_worker=1,
        memory_limit=0,
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
        preload=[NO_CTRL_C],
        scheduler_kwargs={"allowed_failures": 0, **NO_PAGE},
    )


def _no_worker(client: Any, patience: float) -> InputError:
    place = client.scheduler.address
    return InputError(
        f"The Dask scheduler at {place} has had no worker for {patience:g} s; start some in a checkout with "
        f"`python -m dask worker {place} --nthreads 1 --nworkers 4`, and {KEPT}"
    )


def _workers(client: Any) -> int:
    """How many workers there are. Raises InputError for one that would run two units at once."""
    from distributed.comm.core import CommClosedError

    workers = client.scheduler_info().get("workers")
    if workers is None:  # the client has lost the scheduler, and with it what was handed out
        raise CommClosedError
    for name, facts in workers.items():
        if facts["nthreads"] != 1:
            raise InputError(
                f"The Dask worker {name} has {facts['nthreads']} threads, and fits need a process of their "
                "own; start it with `--nthreads 1 --nworkers N`."
            )
    return len(workers)


def look_around(store: str) -> dict[str, str]:
    """What a worker has: versions that results depend on, and whether it sees the store."""
    versions = {name: environment()[name] for name in PACKAGES}
    seen = "a folder" if Path(store).is_dir() else "no folder"
    return {**versions, "RESULTS_VERSION": str(RESULTS_VERSION), store: seen}


def _same_everywhere(client: Any, store: str) -> None:
    """Refuse workers that would compute other numbers, or write them where nobody looks."""
    here = look_around(store)
    there = client.run(look_around, store, on_error="return")
    for name, facts in there.items():
        if isinstance(facts, BaseException):
            raise InputError(
                f"The Dask worker {name} cannot run the laboratory ({reason_of(facts)}); start scheduler and "
                "workers in a checkout of the same commit."
            ) from facts
        for what in [what for what in here if facts[what] != here[what]]:
            raise InputError(
                f"{what} is {facts[what]} for the Dask worker {name} and {here[what]} here; give all "
                "machines the same checkout, the versions of constraints.txt and one file system."
            )


# --- handing out ---------------------------------------------------------------------------------


def _handed_out(
    client: Any, queue: deque[Unit], given_up: list[Unit], patience: float
) -> Iterator[Report]:
    """Work through the queue, a unit a worker; units that Dask gave up are put into `given_up`."""
    running: dict[Any, Unit] = {}
    while queue or running:
        room = max(1, _workers(client)) - len(running)
        for unit in [queue.popleft() for _ in range(min(room, len(queue)))]:
            running[client.submit(run_unit, unit, pure=False)] = unit
        for future in _ended(client, list(running), patience):
            unit = running.pop(future)
            report = _outcome(future, unit)
            if report is None:
                given_up.append(unit)
            else:
                yield report


def _ended(client: Any, futures: list[Any], patience: float) -> list[Any]:
    """Futures that have ended, at least one. Raises InputError where no worker is left to end any."""
    from distributed import wait

    alone = 0.0
    while True:
        try:
            return list(wait(futures, timeout=LOOK, return_when="FIRST_COMPLETED").done)
        except TimeoutError:
            alone = 0.0 if _workers(client) else alone + LOOK
        if alone >= patience:
            raise _no_worker(client, patience)


def _outcome(future: Any, unit: Unit) -> Report | None:
    """A unit's own report, or the record of what kept it from reporting; None where its workers died."""
    from distributed import CancelledError, KilledWorker
    from distributed.comm.core import CommClosedError

    try:
        report: Report = future.result()
        return report
    except KilledWorker:
        return None
    except (
        InputError,
        CancelledError,
        CommClosedError,
    ):  # the disk refuses, or the scheduler is gone
        raise
    except Exception as error:
        return fail(unit, reason_of(error))
