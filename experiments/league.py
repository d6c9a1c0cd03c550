"""`python -m experiments.league`: the whole field in one table, and what coverage each one needs."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import track

from experiments.league_entries import ENTRIES, Entry
from experiments.league_tables import coefficients, write_report
from spac_theory import (
    InputError,
    LearnerView,
    Oracle,
    PreferenceModel,
    Problem,
    checks,
    make_algorithm,
    make_behaviour,
    make_problem,
    pair_law,
    sample_winner_counts,
    winner_law,
)
from spac_theory.concentrability import single_policy_concentrability
from spac_theory.online import OnlineAccess

Row = dict[str, Any]
FIRST_TUNING_SEED = 1_000_000
WIDTH = 120  # of the table where there is no screen


@dataclass(frozen=True)
class League:
    """A checked configuration; see `conf/league.yaml` for the fields."""

    problem: Mapping[str, Any]
    behaviour: Mapping[str, Any]
    dials: tuple[float, ...]
    sizes: tuple[int, ...]
    seeds: int
    tuning_seeds: int
    labels: int
    kl_radius: float
    entries: tuple[str, ...]
    processes: int
    output: Path


@dataclass(frozen=True)
class Task:
    """One entry on one cell: plain data for a worker."""

    league: League
    label: str
    dial: float
    n: int


def read(config: Mapping[str, Any]) -> League:
    """Check everything before any work starts."""
    problem, behaviour = dict(config["problem"]), dict(config["behaviour"])
    dials = [checks.number("behaviour.dials", d) for d in behaviour.pop("dials")]
    entries = list(config["algorithms"]) or list(ENTRIES)
    for label in entries:
        checks.choice("algorithms", label, ENTRIES)
    league = League(
        problem,
        behaviour,
        tuple(dials),
        tuple(checks.integer("sizes", n, low=1) for n in config["sizes"]),
        checks.integer("seeds", config["seeds"], low=2),
        checks.integer("tuning_seeds", config["tuning_seeds"], low=1),
        checks.integer("labels", config["labels"]),
        checks.number("kl_radius", config["kl_radius"], low=0),
        tuple(entries),
        checks.integer("processes", config["processes"], low=1),
        Path(str(config["output"])),
    )
    if not league.dials or not league.sizes:
        raise InputError("behaviour.dials or sizes is empty; each needs at least one value.")
    built = make_problem(**problem)
    family = make_behaviour(**behaviour)
    for dial in league.dials:
        family.policy(built, dial)
    for entry in (ENTRIES[label] for label in league.entries):
        for options in entry.settings:
            make_algorithm(entry.algorithm, **options)
    return league


class Cell:
    """A problem, its behaviour and its data; every entry meets the same data sets."""

    def __init__(self, task: Task) -> None:
        self.problem: Problem = make_problem(**task.league.problem)
        bandit = self.problem.bandit
        self.mu = make_behaviour(**task.league.behaviour).policy(self.problem, task.dial)
        self.truth = PreferenceModel.from_reward(bandit.reward)
        self.law = winner_law(bandit.rho, pair_law(self.mu), self.truth)
        self.view = LearnerView(self.problem.reward_class, bandit.rho, self.mu, self.mu)
        self.single = float(
            single_policy_concentrability(
                bandit.features, bandit.rho, pair_law(self.mu), bandit.optimal_policy, self.mu
            )
        )
        self.labels = task.league.labels
        self.name = (bandit.name, str(task.league.behaviour), repr(task.dial))
        self.n = task.n

    def run(self, entry: Entry, options: dict[str, Any], seeds: range) -> list[Row]:
        """Fit one setting on the data of `seeds`; a row a seed, or one row that says why not."""
        bandit = self.problem.bandit
        data = sample_winner_counts(self.law, self.n, seeds, *self.name)
        access = OnlineAccess(self.truth, bandit.rho, seeds, self.labels, bandit.reward, self.name)
        oracle = Oracle(self.single, access)
        algorithm = make_algorithm(entry.algorithm, **options)
        reason = algorithm.skip(self.view, oracle)
        if reason is not None:
            return [{"status": "skipped", "reason": reason}]
        start = time.process_time()
        try:
            fit = algorithm.fit(self.view, data, oracle)
            loss = bandit.suboptimality(fit.policy.probabilities())
        except Exception as error:  # a league reports failures, it does not stop at them
            return [{"status": "failed", "reason": f"{type(error).__name__}: {error}"}]
        seconds = (time.process_time() - start) / len(seeds)
        done = torch.ones(len(seeds)) if fit.converged is None else fit.converged
        queries = access.labels + access.scores
        return [
            {
                "status": "done" if bool(done[i]) else "not converged",
                "seed": seed,
                "suboptimality": float(loss[i]),
                "queries": int(queries[i]),
                "certified": fit.certified,
                "seconds": seconds,
            }
            for i, seed in enumerate(seeds)
        ]


def run_task(task: Task) -> list[Row]:
    """Default options and the tuned ones, on the same reported data sets."""
    torch.set_num_threads(1)
    entry, league, cell = ENTRIES[task.label], task.league, Cell(task)
    settings, reported = entry.settings, range(league.seeds)
    tuning = range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + league.tuning_seeds)
    scores = [_mean(cell.run(entry, s, tuning)) if len(settings) > 1 else 0.0 for s in settings]
    chosen = settings[scores.index(min(scores))]
    default = cell.run(entry, settings[0], reported)
    tuned = default if chosen == settings[0] else cell.run(entry, chosen, reported)
    where = {"algorithm": task.label, "dial": task.dial, "n": task.n}
    return [
        {**where, "options": kind, "setting": str(setting), **row}
        for kind, setting, rows in (("default", settings[0], default), ("tuned", chosen, tuned))
        for row in rows
    ]


def _mean(rows: list[Row]) -> float:
    """Mean suboptimality of a setting; infinite where it did not run."""
    values = [row.get("suboptimality", float("inf")) for row in rows]
    return sum(values) / len(values)


def run_all(league: League) -> Iterator[list[Row]]:
    """Every entry on every cell, the largest data first."""
    tasks = [
        Task(league, label, dial, n)
        for n in sorted(league.sizes, reverse=True)
        for dial in league.dials
        for label in league.entries
    ]
    os.environ["OMP_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(league.processes, mp_context=context) as pool:
        yield from track(pool.map(run_task, tasks), "playing", len(tasks))


@hydra.main(version_base=None, config_path="../conf", config_name="league")
def main(config: DictConfig) -> None:
    """Play the league and write its report."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    start = time.monotonic()
    try:
        plain = OmegaConf.to_container(config, resolve=True)
        assert isinstance(plain, dict)
        league = read({str(key): value for key, value in plain.items()})
    except InputError as error:
        console.print(str(error), style="red")
        sys.exit(2)
    rows = [row for part in run_all(league) for row in part]
    write_report(league.output, rows, coverage_rows(league), console)
    console.print(f"{time.monotonic() - start:.0f} s; written to {league.output}")


def coverage_rows(league: League) -> list[Row]:
    """The coverage coefficients of every dial."""
    rows = []
    for dial in league.dials:
        cell = Cell(Task(league, league.entries[0], dial, league.sizes[0]))
        rows.append({"dial": dial, **coefficients(cell.problem, cell.mu, league.kl_radius)})
    return rows


if __name__ == "__main__":
    main()
