"""The diagnosis of a log from checked settings to tables; `experiments.diagnose` is its program."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from torch import Tensor

from experiments.common.configuration import read
from experiments.common.figure import save
from experiments.common.files import write_atomically, write_text
from experiments.common.table import make_console, show_paths
from experiments.engine.specs import Spec, build_algorithm, load, resolve_algorithms
from experiments.studies.diagnosis import log_page
from experiments.studies.diagnosis.log_findings import LogFindings, log_findings
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
from spac_theory.learning.diagnosis import appearances, context_weights


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


@dataclass(frozen=True)
class Lesson:
    """Policies `(X, A)` and `λ` by label; what was skipped or failed, in sentences; whether none failed."""

    policies: dict[str, Tensor] = field(default_factory=dict)
    lams: dict[str, float | None] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def learn(specs: dict[str, Spec], view: LearnerView, log: Log) -> Lesson:
    """The policy of every algorithm that can treat the data without an oracle."""
    lesson = Lesson()
    for label, spec in specs.items():
        algorithm = build_algorithm(spec)
        reason = algorithm.skip(view, None)
        try:
            fit = None if reason is not None else algorithm.fit(view, log.counts, None)
        except InputError as error:
            fit, reason = None, str(error).rstrip(".")
        except NotANumber as error:
            lesson.failed.append(f"{label}: failed, {str(error).rstrip('.')}.")
            continue
        if fit is None:
            lesson.said.append(f"{label}: skipped, {reason}.")
            continue
        lesson.policies[label] = fit.policy.probabilities()[0]
        lesson.lams[label] = None if fit.lam is None else float(fit.lam[0])
    return lesson


def show(found: LogFindings, said: list[str], console: Console) -> None:
    """The answer in words, the table of policies, and what its columns mean."""
    for sentence in log_page.verdict(found):
        console.print(f"• {sentence}", markup=False, highlight=False)
    console.print()
    log_page.policies(found).show(console)
    for name, meaning in log_page.TERMS.items():
        console.print(f"  {name}: {meaning}", markup=False, highlight=False)
    for sentence in said:
        console.print(sentence, markup=False)


def write(found: LogFindings, said: list[str], settings: Settings, output: Path) -> list[Path]:
    """The page and its picture, both diagnoses, the policy to use, pairs to label, all policies."""
    texts = {
        "recommended.csv": log_page.recommended(found),
        "label_next.csv": log_page.label_next(found, settings.rows.queries),
        "contexts.csv": log_page.context_table(found),
        "diagnosis.csv": pl.DataFrame(
            [{"policy": k, **dataclasses.asdict(v)} for k, v in found.reports.items()]
        ),
    }
    for name, table in texts.items():
        write_text(output / name, table.write_csv())
    arrays: dict[str, Any] = {name: policy.numpy() for name, policy in found.policies.items()}

    def save_arrays(path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, **arrays)

    write_atomically(output / "policies.npz", save_arrays)
    write_atomically(output / "policies.parquet", long_table(found.log, arrays).write_parquet)
    pictures = save(log_page.draw(found), output / "diagnosis", data=Path(str(settings.data)).name)
    files = [*texts, "policies.npz", "policies.parquet", *(p.name for p in pictures)]
    write_text(output / "diagnosis.md", log_page.markdown(found, said, files))
    return [output / name for name in ("diagnosis.md", *files)]


def long_table(log: Log, arrays: dict[str, Any]) -> pl.DataFrame:
    """Policies with one row a policy, context and action, by name."""
    names = {"context": [str(x) for x in log.contexts], "action": [str(a) for a in log.actions]}
    shape = (len(log.contexts), len(log.actions))
    return pl.concat(
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


def diagnose(values: dict[str, Any], output: Path) -> bool:
    """Read, learn, diagnose, write."""
    if "algorithm" not in values:  # Hydra leaves out a group that nothing was chosen from
        resolve_algorithms(None)
    settings, console = read(Settings, values), make_console()
    load(settings.plugins)
    specs = resolve_algorithms(settings.algorithm)
    if is_rows(settings.data, settings.reading.mapped):
        return diagnose_rows(settings, specs, output, console)
    log = read_log(settings)
    view = learner_view(settings, log)
    lesson = learn(specs, view, log)
    said = [*lesson.said, *lesson.failed]
    if not lesson.policies:
        raise InputError(
            f"algorithm holds none that this log can be treated with ({' '.join(said)[:-1]})."
        )
    found = log_findings(view, log, lesson.policies, lesson.lams)
    show(found, said, console)
    show_paths(write(found, said, settings, output), console)
    return not lesson.failed
