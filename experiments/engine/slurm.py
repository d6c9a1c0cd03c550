"""The same units on a Slurm cluster, through submitit (extra `sweep`)."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from experiments.engine.executor import THREAD_LIMITS
from experiments.engine.units import Report, Unit, fail, run_unit
from spac_theory import InputError


def run_all(units: list[Unit]) -> list[Report]:
    """Run units one after another: the work of one job."""
    return [run_unit(unit) for unit in units]


def run_on_slurm(
    units: list[Unit], cluster: str, size: int, parameters: Mapping[str, Any], logs: Path
) -> Generator[Report]:
    """Submit the units as an array of jobs of `size` units and yield reports as jobs end.

    `cluster` is "slurm", or "local" to try it without one; `parameters` are handed to submitit as they
    are. A job that is lost costs its own units.
    """
    try:
        import submitit
    except ImportError as error:
        raise InputError(
            "launcher is 'slurm', which needs submitit; install it with: pip install -e '.[sweep]'."
        ) from error
    executor = submitit.AutoExecutor(folder=str(logs), cluster=cluster)
    limits = [f"export {name}=1" for name in THREAD_LIMITS]
    executor.update_parameters(**parameters)
    if cluster == "slurm":
        executor.update_parameters(slurm_setup=limits)
    chunks = [units[i : i + size] for i in range(0, len(units), size)]
    jobs = executor.map_array(run_all, chunks)
    for job, chunk in zip(jobs, chunks, strict=True):
        lost = job.exception()
        if lost is None:
            yield from job.result()
        else:
            reason = f"job {job.job_id} was lost: {' '.join(str(lost).split())[-200:]}"
            yield from (fail(unit, reason) for unit in chunk)
