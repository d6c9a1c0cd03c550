"""Running units in worker processes, so that nothing a unit does can lose the others' work.

A worker that is killed breaks the whole pool of `concurrent.futures`. So only as many units are
handed out as there are workers; when a pool breaks, those few are suspects, each is tried once more
in a process of its own, and the rest go on in a new pool.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for

from experiments.engine.units import Report, Unit, fail, run_unit
from spac_theory.checks import InputError

DIED = "the worker process died (killed, or out of memory)"
THREAD_LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run_units(units: list[Unit], processes: int) -> Generator[Report]:
    """Run all units and yield a report for each as it ends; `processes = 0` runs them right here."""
    if processes == 0:
        yield from map(run_unit, units)
        return
    queue = deque(units)
    while queue:
        suspects: list[Unit] = []
        yield from _until_broken(queue, min(processes, len(queue)), suspects)
        for unit in suspects:
            yield _alone(unit)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and never outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait_for([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of spawned workers with one thread each; whatever goes wrong, none is left behind."""
    before = {name: os.environ.get(name) for name in THREAD_LIMITS}
    os.environ.update(dict.fromkeys(THREAD_LIMITS, "1"))
    context = multiprocessing.get_context("spawn")
    strangers = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_start_worker)
    try:
        yield pool
    except BaseException:
        for child in set(multiprocessing.active_children()) - strangers:
            child.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _until_broken(queue: deque[Unit], processes: int, suspects: list[Unit]) -> Iterator[Report]:
    """Work through the queue; if the pool breaks, stop and name the units that were under way."""
    running: dict[Future[Report], Unit] = {}
    with _pool(processes) as pool:
        while running or (queue and not suspects):
            while queue and not suspects and len(running) < processes:
                unit = queue.popleft()
                try:
                    running[pool.submit(run_unit, unit)] = unit
                except BrokenProcessPool:
                    suspects.append(unit)
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                unit = running.pop(future)
                if isinstance(future.exception(), BrokenProcessPool):
                    suspects.append(unit)
                else:
                    yield _report(future, unit)


def _alone(unit: Unit) -> Report:
    """A second try in a process that nothing else depends on."""
    with _pool(1) as pool:
        return _report(pool.submit(run_unit, unit), unit)


def _report(future: Future[Report], unit: Unit) -> Report:
    """A unit's own report, or the record of what kept it from reporting."""
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, InputError):  # the disk refuses, or the store is not what it should be
        raise error
    died = isinstance(error, BrokenProcessPool)
    return fail(unit, DIED if died else f"{type(error).__name__}: {error}")
