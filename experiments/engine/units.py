"""Units of work: one data set block at one (problem, behaviour, dial, n), and all that is pending on it.

A unit draws its data once and fits every algorithm that has no result yet. Whoever runs it, and in
whatever order, the numbers are the same: data are keyed by names, and a block is always computed
whole.
"""

from __future__ import annotations

import functools
import json
import os
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from experiments.engine.referee import Setting, WatchedOracle, fit_rows, skip_rows
from experiments.engine.specs import (
    Spec,
    Sweep,
    build_algorithm,
    build_behaviour,
    build_problem,
    load,
)
from experiments.engine.store import CellFiles, identity
from spac_theory import (
    Fit,
    LearnerView,
    Oracle,
    PreferenceModel,
    WinnerCounts,
    coverage,
    pair_law,
    sample_winner_counts,
    winner_law,
)
from spac_theory.algorithms import Algorithm
from spac_theory.bandit.online import OnlineAccess
from spac_theory.learning.density import fit_continuous
from spac_theory.problems.density import ContinuousProblem


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

    @property
    def seeds(self) -> range:
        """The seeds of the block."""
        return range(self.block * self.block_size, (self.block + 1) * self.block_size)

    def cell(self, label: str) -> CellFiles:
        """The files of the cell of one algorithm."""
        config = cell_config(self, self.algorithms[label])
        return CellFiles(Path(self.store), config)

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


def all_units(sweep: Sweep, store: Path) -> Iterator[Unit]:
    """Every unit of a sweep with all its algorithms."""
    for dial in sweep.dials:
        for n in sweep.sizes:
            for block in sweep.blocks:
                yield Unit(
                    str(store.resolve()),
                    sweep.problem,
                    sweep.behaviour,
                    dial,
                    n,
                    sweep.learner,
                    block,
                    sweep.block,
                    sweep.algorithms,
                    sweep.plugins,
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
    return Unit(**{**vars(unit), "algorithms": left}) if left else None


def by_cost(units: list[Unit]) -> list[Unit]:
    """Longest first, so that no worker is left alone at the end.

    Iterative algorithms cost in proportion to their rounds, and small data sets take more Newton
    steps than large ones.
    """

    def cost(unit: Unit) -> float:
        rounds = [spec["options"].get("iterations", 10) for spec in unit.algorithms.values()]
        return float(sum(rounds)) / (1 + len(str(unit.n)))

    return sorted(units, key=cost, reverse=True)


@functools.lru_cache(maxsize=32)
def _setting(problem: str, behaviour: str, dial: float, learner: str) -> Setting:
    """The problem and the learner's view of it; kept, because many units share it."""
    built = build_problem(json.loads(problem))
    family = json.loads(behaviour)
    mu = build_behaviour(family).policy(built, dial)
    options = json.loads(learner)
    uniform = torch.full_like(mu, 1 / mu.shape[-1])
    policies = {"behaviour": mu, "uniform": uniform}
    view = LearnerView(
        built.reward_class,
        built.bandit.rho,
        policies[options["reference"]],
        policies[options["baseline"]],
        delta=options["delta"],
    )
    covered = coverage(built, mu, view.baseline)
    return Setting(built, family["name"], dial, mu, view, covered)


def setting(unit: Unit) -> Setting:
    """The setting of a unit."""
    problem, behaviour, learner = (
        json.dumps(spec, sort_keys=True) for spec in (unit.problem, unit.behaviour, unit.learner)
    )
    return _setting(problem, behaviour, unit.dial, learner)


@dataclass(frozen=True)
class OwnPrompts:
    """Data sets that each have prompts of their own: drawn when an algorithm is fitted."""

    n: torch.Tensor


def draw(unit: Unit, place: Setting) -> WinnerCounts | OwnPrompts:
    """The data of a unit, the same for every algorithm and nested over `n`."""
    if isinstance(place.problem, ContinuousProblem):
        return OwnPrompts(torch.full((len(unit.seeds),), unit.n))
    bandit = place.problem.bandit
    preference = PreferenceModel.from_reward(bandit.reward, place.view.link)
    law = winner_law(bandit.rho, pair_law(place.behaviour), preference)
    family = json.dumps([unit.behaviour["name"], unit.behaviour["options"]], sort_keys=True)
    return sample_winner_counts(law, unit.n, unit.seeds, bandit.name, family, repr(unit.dial))


def run_unit(unit: Unit) -> Report:
    """Fit what is pending and store each result as soon as it is there; failures are recorded."""
    torch.set_num_threads(1)
    load(unit.plugins)
    todo = pending(unit)
    if todo is None:
        return Report()
    reports = []
    try:
        place = setting(todo)
        data = draw(todo, place)
    except Exception as error:
        return fail(todo, _reason(error), traceback.format_exc())
    for label in todo.algorithms:
        reports.append(_run_algorithm(todo, label, place, data))
    return Report(
        sum(r.done for r in reports),
        sum(r.skipped for r in reports),
        tuple(reason for r in reports for reason in r.failed),
    )


def _fit(
    unit: Unit,
    place: Setting,
    algorithm: Algorithm,
    data: WinnerCounts | OwnPrompts,
    oracle: Oracle,
) -> Fit:
    """Fit all data sets at once, or one by one where each has its own prompts."""
    if isinstance(data, WinnerCounts):
        return algorithm.fit(place.view, data, oracle)
    assert isinstance(place.problem, ContinuousProblem)
    family = build_behaviour(unit.behaviour)
    key = json.dumps([unit.behaviour["name"], unit.behaviour["options"]], sort_keys=True)
    return fit_continuous(
        place.problem,
        family,
        unit.dial,
        unit.n,
        unit.seeds,
        algorithm,
        place.view,
        oracle,
        key,
        repr(unit.dial),
    )


def online_access(unit: Unit, place: Setting) -> OnlineAccess | None:
    """Online labels on the budget `learner.labels` of the unit; None where it grants none."""
    budget = unit.learner.get("labels", 0)
    if budget == 0:
        return None
    bandit = place.problem.bandit
    preference = PreferenceModel.from_reward(bandit.reward, place.view.link)
    key = (bandit.name, place.family, repr(place.dial))
    return OnlineAccess(preference, bandit.rho, unit.seeds, budget, bandit.reward, key)


def _run_algorithm(
    unit: Unit, label: str, place: Setting, data: WinnerCounts | OwnPrompts
) -> Report:
    """One algorithm on the data of a unit: rows, or the record of its failure."""
    cell = unit.cell(label)
    access = online_access(unit, place)
    oracle = WatchedOracle(Oracle(place.coverage.single, access))
    try:
        algorithm = build_algorithm(unit.algorithms[label])
        reason = algorithm.skip(place.view, oracle)
        if reason is not None:
            rows = skip_rows(place, label, unit.n, unit.seeds, reason, oracle.consulted)
        else:
            start = time.process_time()
            fit = _fit(unit, place, algorithm, data, oracle)
            seconds = time.process_time() - start
            rows = fit_rows(place, label, unit.seeds, data.n, fit, algorithm, seconds)
            rows["oracle"] = [oracle.consulted] * len(unit.seeds)
            if oracle.consulted:  # the lower bound speaks of learners without one
                rows["bound_lower"] = [None] * len(unit.seeds)
            if access is not None:
                rows["queries"] = (access.labels + access.scores).to(torch.float64).tolist()
    except Exception as error:
        return fail(unit, _reason(error), traceback.format_exc(), only=label)
    cell.write_block(unit.block, rows)
    return Report(done=int(reason is None), skipped=int(reason is not None))


def _reason(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def fail(unit: Unit, reason: str, details: str = "", only: str | None = None) -> Report:
    """Record that a unit's pending algorithms (or one of them) failed."""
    labels = [only] if only else list(unit.algorithms)
    failed = []
    for label in labels:
        cell = unit.cell(label)
        if not cell.done(unit.block):
            cell.write_error(unit.block, {"host": os.uname().nodename}, reason, details)
            failed.append(f"{label} ({unit}): {reason}")
    return Report(failed=tuple(failed))
