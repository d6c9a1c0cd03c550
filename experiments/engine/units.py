"""Units of work: one data set block at one (problem, behaviour, dial, n), and all that is pending on it.

A unit draws its data once and fits every algorithm that has no result yet. Whoever runs it, and in
whatever order, the numbers are the same: data are keyed by names, and a block is always computed
whole.
"""

from __future__ import annotations

import dataclasses
import hashlib
import platform
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.common.files import StorageError
from experiments.engine.referee import Referee, Rows, WatchedOracle
from experiments.engine.setting import Setting, forget_settings, setting_of
from experiments.engine.specs import Spec, build_algorithm, load
from experiments.engine.store import CellFiles, identity
from spac_theory import Fit, InputError, Oracle
from spac_theory.devices import find_device, on_device
from spac_theory.registry import PLUGIN
from spac_theory.view import Declined


@dataclass(frozen=True)
class Unit:
    """One piece of work; plain data, so that any process or machine can run it."""

    store: str
    problem: Spec
    behaviour: Spec
    dial: float
    n: int
    learner: Spec
    block: int
    block_size: int
    algorithms: dict[str, Spec]
    plugins: tuple[str, ...] = ()
    device: str = "cpu"  # where its fits are computed; no part of a cell's identity

    @property
    def seeds(self) -> range:
        """The seeds of the block."""
        return range(self.block * self.block_size, (self.block + 1) * self.block_size)

    def cell(self, label: str) -> CellFiles:
        """The files of the cell of one algorithm."""
        config = cell_config(self, self.algorithms[label])
        return CellFiles(Path(self.store), config)

    def setting(self) -> Setting:
        """Where its fits are made and judged."""
        return setting_of(self.problem, self.behaviour, self.dial, self.learner)

    def referee(self, label: str) -> Referee:
        """Who decides the rows of one algorithm."""
        return Referee(self.setting(), label, self.algorithms[label], self.n, self.seeds)

    def __str__(self) -> str:
        names = f"{self.problem['name']}, {self.behaviour['name']} {self.dial:g}"
        return f"{names}, n = {self.n}, seeds {self.seeds.start}–{self.seeds.stop - 1}"


@dataclass(frozen=True)
class Report:
    """What became of a unit: fits finished, skipped, and `label: reason` of those that failed."""

    done: int = 0
    skipped: int = 0
    failed: tuple[str, ...] = ()

    @property
    def fits(self) -> int:
        """All of them."""
        return self.done + self.skipped + len(self.failed)


def cell_config(unit: Unit, algorithm: Spec) -> Spec:
    """All that the numbers of a cell depend on; neither its label nor the number of seeds."""
    return identity(
        {
            "problem": unit.problem,
            "behaviour": {**unit.behaviour, "dial": unit.dial},
            "algorithm": algorithm,
            "n": unit.n,
            "learner": unit.learner,
            "block_size": unit.block_size,
        }
    )


def pending(unit: Unit) -> Unit | None:
    """The unit with its unfinished algorithms alone, None if there is none left.

    Raises InputError where a stored configuration is not what it should be.
    """
    left = {}
    for label, spec in unit.algorithms.items():
        cell = unit.cell(label)
        cell.check()
        if not cell.done(unit.block):
            left[label] = spec
    return replace(unit, algorithms=left) if left else None


def by_cost(units: list[Unit]) -> list[Unit]:
    """Longest first, so that no worker is left alone at the end.

    Iterative algorithms cost in proportion to their rounds, and small data sets take more Newton
    steps than large ones.
    """

    def cost(unit: Unit) -> float:
        rounds = [spec["options"].get("iterations", 10) for spec in unit.algorithms.values()]
        return float(sum(rounds)) / (1 + len(str(unit.n)))

    return sorted(units, key=cost, reverse=True)


def run_unit(unit: Unit) -> Report:
    """Fit what is pending and store each result as soon as it is there; failures are recorded."""
    torch.set_num_threads(1)
    load(unit.plugins)
    todo = pending(unit)
    if todo is None:
        return Report()
    try:
        data = todo.setting().data(todo.n, todo.seeds)
    except Exception as error:
        return fail(todo, reason_of(error), traceback.format_exc())
    reports = [run_algorithm(todo, label, data) for label in todo.algorithms]
    return total(reports)


def total(reports: Sequence[Report]) -> Report:
    """Several reports as one."""
    return Report(
        sum(r.done for r in reports),
        sum(r.skipped for r in reports),
        tuple(reason for r in reports for reason in r.failed),
    )


def run_algorithm(unit: Unit, label: str, data: Any) -> Report:
    """One algorithm on a copy of a unit's data: rows, or the record of its failure."""
    cell = unit.cell(label)
    try:
        rows = judged(unit, label, data)
    except StorageError:
        raise
    except Exception as error:
        return fail(unit, reason_of(error) + _place(error), traceback.format_exc(), only=label)
    cell.write_block(unit.block, rows)
    skipped = rows["status"][0] == "skipped"
    return Report(done=int(not skipped), skipped=int(skipped))


def judged(unit: Unit, label: str, data: Any) -> Rows:
    """The rows of one algorithm.

    It gets its own copy of the data. Raises ValueError where it has changed that copy, or the setting
    that it shares with the others.
    """
    referee, setting, mine = unit.referee(label), unit.setting(), copy_of(data)
    access = setting.online(unit.seeds, unit.learner.get("labels", 0))
    oracle = WatchedOracle(Oracle(setting.coverage.single, access))
    algorithm = build_algorithm(unit.algorithms[label])
    before, chance = fingerprint(setting, mine), torch.get_rng_state()
    reason = algorithm.skip(setting.view, oracle)
    if reason is not None and not (isinstance(reason, str) and reason.strip()):
        raise TypeError(f"its skip returned {reason!r}; it must return None or a reason in words")
    try:
        if reason is not None:
            raise Declined(reason)
        start = time.process_time()
        fit = setting.fit(on_device(algorithm, find_device(unit.device)), mine, oracle)
        seconds = time.process_time() - start
    except Declined as declined:
        return referee.skipped(str(declined), oracle)
    finally:
        unchanged = fingerprint(setting, mine) == before
        if not unchanged:
            forget_settings()
    if not unchanged:
        raise ValueError(
            "it changed the data or the setting that it was given, which others share; work on a copy"
        )
    if not isinstance(fit, Fit):
        raise TypeError(f"its fit returned a {type(fit).__name__}; it must return a Fit")
    if not torch.equal(torch.get_rng_state(), chance):
        raise ValueError(
            "it drew from torch's global generator, so its result depends on what ran before; draw from "
            "spac_theory.keys.generator or data.streams"
        )
    return referee.fitted(fit, algorithm, oracle, access, seconds)


def copy_of(data: Any) -> Any:
    """The data with tensors of their own."""
    tensors = {k: v.clone() for k, v in _tensors(data).items() if k in _initial(data)}
    return replace(data, **tensors)


def fingerprint(setting: Setting, data: Any) -> str:
    """A digest of every tensor that an algorithm can reach and others rely on."""
    found = hashlib.sha256()
    bandit, view = setting.problem.bandit, setting.view
    for thing in (data, view, view.reward_class, bandit):
        for name, tensor in sorted(_tensors(thing).items()):
            found.update(name.encode() + str(tuple(tensor.shape)).encode())
            found.update(tensor.detach().contiguous().numpy().tobytes())
    return found.hexdigest()


def _tensors(thing: Any) -> dict[str, Tensor]:
    """The fields of a dataclass that are tensors."""
    if not dataclasses.is_dataclass(thing):
        return {}
    values = {f.name: getattr(thing, f.name, None) for f in dataclasses.fields(thing)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def _initial(thing: Any) -> set[str]:
    """The fields that a dataclass is made from."""
    return {f.name for f in dataclasses.fields(thing) if f.init}


def reason_of(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _place(error: BaseException) -> str:
    """Where in a plug-in an error arose; nothing for errors that say in words what is wrong."""
    if isinstance(error, InputError):
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    loaded = {
        str(module.__file__)
        for name, module in list(sys.modules.items())
        if name.startswith(PLUGIN)
    }
    own = [frame for frame in frames if frame.filename in loaded]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""


def fail(unit: Unit, reason: str, details: str = "", only: str | None = None) -> Report:
    """Record that a unit's pending algorithms (or one of them) failed."""
    labels = [only] if only else list(unit.algorithms)
    failed = []
    for label in labels:
        cell = unit.cell(label)
        if not cell.done(unit.block):
            cell.write_error(unit.block, {"host": platform.node()}, reason, details)
            failed.append(f"{label} ({unit}): {reason}")
    return Report(failed=tuple(failed))
