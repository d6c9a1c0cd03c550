"""Where units run, as the group `launcher` of a configuration says: on this machine, or on a cluster."""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from experiments.common.configuration import WHOLE, Count
from experiments.engine.dask import run_on_dask
from experiments.engine.executor import run_units
from experiments.engine.slurm import run_on_slurm
from experiments.engine.units import Report, Unit
from spac_theory import InputError
from spac_theory.devices import find_device

Processes = Annotated[int, WHOLE, Field(ge=0, le=1024)]


@dataclass(frozen=True)
class Local:
    """Worker processes here; null for one a core, 0 for none."""

    name: Literal["local"]
    processes: Processes | None = None
    device: str = "cpu"

    def check(self) -> None:
        """InputError for a device that this machine does not have."""
        find_device(self.device, "launcher.device")

    def run(self, units: list[Unit], logs: Path) -> Generator[Report]:
        """A report for each unit as it ends."""
        units = [replace(unit, device=self.device) for unit in units]
        return run_units(units, _cores() if self.processes is None else self.processes)


@dataclass(frozen=True)
class Slurm:
    """Jobs on a cluster; `parameters` go to submitit as they are."""

    name: Literal["slurm"]
    cluster: Literal["slurm", "local"]
    units_per_job: Count
    parameters: dict[str, Any]
    device: str = "cpu"

    def check(self) -> None:
        """Nothing: whether a job has its device, the job finds out."""

    def run(self, units: list[Unit], logs: Path) -> Generator[Report]:
        """A report for each unit as its job ends; the jobs write into `logs`."""
        units = [replace(unit, device=self.device) for unit in units]
        return run_on_slurm(units, self.cluster, self.units_per_job, self.parameters, logs)


@dataclass(frozen=True)
class Dask:
    """Workers of a running Dask scheduler; without an address, as many of this machine (null: one a core)."""

    name: Literal["dask"]
    address: str | None = None
    processes: Annotated[Processes, Field(ge=1)] | None = None
    patience: Annotated[float, Field(gt=0, le=86400)] = 30.0
    device: str = "cpu"

    def check(self) -> None:
        """InputError where both an address and workers of this machine are asked for."""
        if self.address is not None and self.processes is not None:
            raise InputError(
                f"launcher.processes is {self.processes} and launcher.address is {self.address!r}; workers "
                "of another scheduler are started there, so give one of the two."
            )

    def run(self, units: list[Unit], logs: Path) -> Generator[Report]:
        """A report for each unit as it ends."""
        units = [replace(unit, device=self.device) for unit in units]
        processes = _cores() if self.processes is None else self.processes
        return run_on_dask(units, self.address, processes, self.patience)


Launcher = Annotated[Local | Slurm | Dask, Field(discriminator="name")]


def _cores() -> int:
    """Processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
