"""The diagnosis of a log from checked settings to tables; `experiments.diagnose` is its program."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from torch import Tensor

from experiments.common.configuration import read
from experiments.common.files import write_atomically, write_text
from experiments.common.table import Table, make_console, show_paths
from experiments.engine.specs import Spec, build_algorithm, load, resolve_algorithms
from experiments.studies.diagnosis.logs import (
    LARGEST,
    Log,
    Settings,
    read_features,
    read_log,
    read_policy,
)
from experiments.studies.diagnosis.row_run import diagnose_rows
from experiments.studies.diagnosis.rows import is_rows
from spac_theory import InputError, LearnerView, LinearClass, tabular_class
from spac_theory.checks import NotANumber
from spac_theory.learning.diagnosis import (
    appearances,
    context_weights,
    contexts_report,
    policies_report,
)

TERMS = {
    "unseen mass": "share of the policy on actions that were never compared at their context",
    "C": "empirical concentrability; n/C is roughly how many comparisons speak of this policy",
    "pessimistic": "value over ν under the worst reward, min_r G − λ min_r E_D at λ = √n, certified",
    "gain ≥": "J(π) − J(ν) is at least this with probability 1 − δ, if the class is right",
    "gain ≥ (n → ∞)": "the same with the asymptotic radius of Wilks, sharper and not guaranteed",
}


def reward_class(settings: Settings, log: Log) -> LinearClass:
    """The bounded class: linear in the user's features, or a table."""
    features = read_features(settings.features, log)
    bounds = settings.norm_bound, settings.reward_range
    if features is None:
        contexts, actions = len(log.contexts), len(log.actions)
        if (contexts * actions) ** 2 > LARGEST:
            raise InputError(
                f"data names {contexts} contexts and {actions} actions, and features is null; a table "
                f"of {contexts * actions} rewards is too large, give features."
            )
        return tabular_class(contexts, actions, *bounds)
    return LinearClass(features, *bounds)


def learner_view(settings: Settings, log: Log) -> LearnerView:
    """What the learners are told; contexts are weighted as in the data."""
    estimated = appearances(log.counts)
    policies = {
        name: estimated if file is None else read_policy(name, file, log)
        for name, file in (("reference", settings.reference), ("baseline", settings.baseline))
    }
    return LearnerView(
        reward_class(settings, log),
        context_weights(log.counts),
        policies["reference"],
        policies["baseline"],
        delta=settings.delta,
    )


def learn(
    specs: dict[str, Spec], view: LearnerView, log: Log, console: Console
) -> tuple[dict[str, Tensor], bool]:
    """The policy of every algorithm that can treat the data without an oracle, and whether all did."""
    policies, well = {"baseline ν": view.baseline}, True
    for label, spec in specs.items():
        algorithm = build_algorithm(spec)
        reason = algorithm.skip(view, None)
        if reason is not None:
            console.print(f"{label}: skipped, {reason}", markup=False)
            continue
        try:
            fit = algorithm.fit(view, log.counts, None)
        except InputError as error:
            console.print(f"{label}: skipped, {error}", markup=False)
            continue
        except NotANumber as error:
            console.print(f"{label}: failed, {error}", markup=False)
            well = False
            continue
        policies[label] = fit.policy.probabilities()[0]
    return policies, well


def context_table(log: Log) -> pl.DataFrame:
    """One row a context: how its comparisons hang together."""
    rows = [dataclasses.asdict(report) for report in contexts_report(log.counts)]
    table = pl.DataFrame(rows)
    names = pl.Series("context", [str(log.contexts[x]) for x in table["context"]])
    return table.with_columns(names)


def policy_table(view: LearnerView, log: Log, policies: dict[str, Tensor]) -> pl.DataFrame:
    """One row a policy: what the data say of it."""
    reports = policies_report(view, log.counts, policies)
    return pl.DataFrame([{"policy": k, **dataclasses.asdict(v)} for k, v in reports.items()])


def show(table: pl.DataFrame, contexts: pl.DataFrame, log: Log, console: Console) -> None:
    """Both tables in short, and what the columns mean."""
    n, total = int(log.counts.n[0]), contexts.height
    split = contexts.filter(pl.col("components") > 1).height
    unseen = contexts.filter(pl.col("comparisons") == 0).height
    partial = contexts.filter(pl.col("compared_actions") < len(log.actions)).height
    console.print(
        f"{n} comparisons, {total} contexts, {len(log.actions)} actions. Contexts without any "
        f"comparison: {unseen}; where some action was never compared: {partial}; where compared "
        f"actions fall into parts that cannot be ranked against each other: {split}.",
        highlight=False,
    )
    for note in log.notes:
        console.print(f"Note: {note}.", markup=False, highlight=False)
    Table("", ["policy", *TERMS], [list(row) for row in table.iter_rows()]).show(console)
    for name, meaning in TERMS.items():
        console.print(f"  {name}: {meaning}", markup=False, highlight=False)


def write(
    policies: dict[str, Tensor], table: pl.DataFrame, contexts: pl.DataFrame, log: Log, output: Path
) -> list[Path]:
    """Policies as arrays and as a long table, and both diagnoses as CSV."""
    arrays: dict[str, Any] = {name: policy.numpy() for name, policy in policies.items()}
    names = {"context": [str(x) for x in log.contexts], "action": [str(a) for a in log.actions]}
    shape = (len(log.contexts), len(log.actions))
    long = pl.concat(
        pl.DataFrame(
            {
                "policy": [name] * array.size,
                "context": np.repeat(names["context"], shape[1]),
                "action": np.tile(names["action"], shape[0]),
                "probability": array.ravel(),
            }
        )
        for name, array in arrays.items()
    )
    paths = [output / name for name in ("policies.npz", "policies.parquet")]

    def save(path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, **arrays)

    write_atomically(paths[0], save)
    write_atomically(paths[1], long.write_parquet)
    write_text(output / "diagnosis.csv", table.write_csv())
    write_text(output / "contexts.csv", contexts.write_csv())
    return [*paths, output / "diagnosis.csv", output / "contexts.csv"]


def diagnose(values: dict[str, Any], output: Path) -> bool:
    """Read, learn, diagnose, write."""
    if "algorithm" not in values:  # Hydra leaves out a group that nothing was chosen from
        resolve_algorithms(None)
    settings, console = read(Settings, values), make_console()
    load(settings.plugins)
    specs = resolve_algorithms(settings.algorithm)
    if is_rows(settings.data, settings.reading.mapped):
        diagnose_rows(settings, specs, output, console)
        return True
    log = read_log(settings)
    view = learner_view(settings, log)
    policies, well = learn(specs, view, log, console)
    table, contexts = policy_table(view, log, policies), context_table(log)
    show(table, contexts, log, console)
    show_paths(write(policies, table, contexts, log, output), console)
    return well
