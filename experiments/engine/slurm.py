"""The same units on a Slurm cluster, through submitit (extra `sweep`).

Submitit asks `sacct` what became of a job, and waits for ever where the cluster keeps no accounts. So
jobs are followed by their results and by `squeue`, which every Slurm has.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.common.files import lives, read_json, write_json
from experiments.engine.executor import THREAD_LIMITS
from experiments.engine.units import Report, Unit, fail, reason_of, run_unit
from spac_theory import InputError

LOOK = 1.0  # seconds between looks for results
ASK = 5.0  # seconds between questions to Slurm
GRACE = 10.0  # seconds that a result may need to reach us over a network file system
NO_SLURM = (
    "launcher is 'slurm', and this machine has no srun; run the command where jobs are submitted, or "
    "choose launcher=local."
)


def run_on_slurm(
    units: list[Unit], cluster: str, size: int, parameters: Mapping[str, Any], logs: Path
) -> Generator[Report]:
    """Submit the units as an array of jobs of `size` units and yield reports as jobs end.

    `cluster` is "slurm", or "local" to try it without one; `parameters` are handed to submitit as they
    are. A job that is lost costs its own units; whoever stops us early cancels the rest. Raises InputError
    where submitit, Slurm or a parameter is missing or refused.
    """
    if not units:
        return
    chunks = [units[i : i + size] for i in range(0, len(units), size)]
    _cancel_orphans(logs)
    jobs = _submit(chunks, cluster, parameters, logs)
    chunk_of = dict(zip(jobs, chunks, strict=True))
    ended = _as_they_end(jobs) if cluster == "slurm" else _local(jobs)
    with _cancelled(cluster, jobs, logs):
        for job, lost in ended:
            yield from _reports(job, chunk_of[job], lost)


def run_all(units: list[Unit]) -> list[Report] | str | InputError:
    """Run units one after another: the work of one job. A refusal, of a disk say, is handed over."""
    try:
        return [run_unit(unit) for unit in units]
    except InputError as error:
        return error
    except Exception as error:
        return reason_of(error)


def _submit(
    chunks: list[list[Unit]], cluster: str, parameters: Mapping[str, Any], logs: Path
) -> list[Any]:
    """The jobs of an array, or one sentence of what was refused."""
    try:
        import submitit
    except ImportError as error:
        raise InputError(
            "launcher is 'slurm', which needs submitit; install it with: pip install -e '.[sweep]'."
        ) from error
    try:
        executor = submitit.AutoExecutor(folder=str(logs), cluster=cluster)
    except RuntimeError as error:
        raise InputError(NO_SLURM) from error
    limits = [f"export {name}=1" for name in THREAD_LIMITS]
    try:
        executor.update_parameters(**parameters)
        if cluster == "slurm":
            executor.update_parameters(slurm_setup=limits)
        return list(executor.map_array(run_all, chunks))
    except (NameError, ValueError, TypeError) as error:
        raise InputError(
            f"launcher.parameters: {_line(str(error))}; take timeout_min, cpus_per_task, mem_gb, or a "
            "name of submitit's Slurm executor, such as slurm_partition."
        ) from error
    except (submitit.core.utils.FailedSubmissionError, submitit.core.utils.FailedJobError) as error:
        raise InputError(
            f"Slurm refused {len(chunks)} jobs ({_line(str(error), last=True)}); change "
            "launcher.parameters, or launcher.units_per_job where they are too many."
        ) from error


# --- following jobs ------------------------------------------------------------------------------


def _local(jobs: list[Any]) -> Iterator[tuple[Any, str | None]]:
    """Processes of this machine that pretend to be jobs, in their order, with why they were lost."""
    for job in jobs:
        lost = job.exception()
        yield job, None if lost is None else _last_of(str(lost))


def _as_they_end(jobs: list[Any]) -> Iterator[tuple[Any, str | None]]:
    """Jobs of an array as they end, and why where one has left the queue without a result."""
    left, gone, asked = list(jobs), dict[str, float](), 0.0
    while left:
        names = {path.name for path in jobs[0].paths.folder.iterdir()}
        now = time.monotonic()
        if now - asked >= ASK:
            queue, asked = _queue(jobs[0].job_id), now
            gone = {
                job.job_id: gone.get(job.job_id, now)
                for job in left
                if queue is not None and job.job_id not in queue
            }
        for job in list(left):
            there = job.paths.result_pickle.name in names
            if there or now - gone.get(job.job_id, now) > GRACE:
                left.remove(job)
                yield job, None if there else _last_of(job.stderr() or "")
        if left:
            time.sleep(LOOK)


def _queue(name: str) -> set[str] | None:
    """Jobs of an array that wait or run; None where Slurm does not answer."""
    words = ["squeue", "--noheader", "--array", "--format=%i", f"--jobs={_array(name)}"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    if done.returncode and "Invalid job id" not in done.stderr:
        return None
    return set(done.stdout.split())


def _reports(job: Any, units: list[Unit], lost: str | None) -> Iterator[Report]:
    """The reports of a job's units; what a job has handed over is removed, its log stays."""
    found = f"job {job.job_id} was lost: {lost}" if lost is not None else job.result()
    for path in (job.paths.result_pickle, job.paths.submitted_pickle):
        path.unlink(missing_ok=True)
    if isinstance(found, InputError):
        raise found
    yield from (fail(unit, found) for unit in units) if isinstance(found, str) else found


# --- jobs that nobody waits for ------------------------------------------------------------------


@contextmanager
def _cancelled(cluster: str, jobs: list[Any], logs: Path) -> Iterator[None]:
    """Whoever stops us early leaves no job behind; a note tells the next run where we are killed."""
    note = logs / f"waiting-{os.getpid()}.json"
    name = _array(jobs[0].job_id) if cluster == "slurm" else ""
    write_json(note, {"job": name, "host": platform.node(), "process": os.getpid()})
    try:
        yield
    except BaseException:
        if name:
            _cancel(name)
        for job in [] if name else jobs:
            job.cancel(check=False)
        raise
    finally:
        note.unlink(missing_ok=True)


def _cancel_orphans(logs: Path) -> None:
    """Cancel jobs whose main process was killed here: their units are submitted again."""
    for path in logs.glob("waiting-*.json"):
        told = read_json(path)
        if told["host"] == platform.node() and not lives(told["process"]):
            if told["job"]:
                _cancel(told["job"])
            path.unlink(missing_ok=True)


def _cancel(name: str) -> None:
    subprocess.run(["scancel", name], capture_output=True, timeout=60)


def _array(name: str) -> str:
    """The array that a job belongs to."""
    return name.partition("_")[0]


def _last_of(text: str) -> str:
    """The last line of a job's own words: what submitit frames by dashes, or all of it."""
    parts = re.split(r"^-{10,}$", text, flags=re.MULTILINE)
    return _line(parts[1] if len(parts) > 1 else text, last=True)


def _line(text: str, last: bool = False) -> str:
    """One line of a text, without its full stop."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = lines[-1 if last else 0] if lines else "it left no word"
    return said[:200].rstrip(".")
