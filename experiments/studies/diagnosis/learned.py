"""What the algorithms make of preference rows: policies over recorded answers, and their rewards."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from experiments.engine.specs import Spec, build_algorithm
from experiments.studies.diagnosis.rows import RowProblem, pair_fit, wilks_scale
from spac_theory import InputError, WinnerCounts
from spac_theory.checks import NotANumber
from spac_theory.concentrability.linear import ridge_concentrability
from spac_theory.learning.diagnosis import PolicyReport, policies_report
from spac_theory.view import LearnerView

ALIKE = ("uniform", "simpo", "sapo", "spac_t")  # all actions alike, at the start or at the end
MULTIPLES = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)  # of √n: the λ tried for the lower bounds


@dataclass(frozen=True)
class Learned:
    """A policy `(X, A)` with nothing on repeats; its reward `(N,)` or None, and `λ` or None."""

    policy: Tensor
    reward: Tensor | None
    lam: float | None
    gap: float | None


@dataclass(frozen=True)
class Lesson:
    """What was learned, by label, and why the others were not run (`left`) or `failed`."""

    learned: dict[str, Learned] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def unsuited(problem: RowProblem, spec: Spec) -> str | None:
    """Why an algorithm cannot treat prompts with answers of their own; None if it can."""
    if spec["name"] in ALIKE and not bool(problem.data.sets.real.all()):
        return "treats all answers of the rectangle alike, and prompts with fewer answers repeat one there"
    if spec["name"] == "spo":
        return "chooses sets of items, and these are answers"
    if "held_out" in spec["options"].values() and problem.counts.unit > 1:
        return "holds out whole comparisons, and ties or soft labels are shares of one"
    return build_algorithm(spec).skip(problem.view, None)


def learn(problem: RowProblem, specs: dict[str, Spec], counts: WinnerCounts) -> Lesson:
    """Fit every algorithm to `counts`; `pessimistic_mle` gets Wilks' radius."""
    lesson = Lesson()
    for label, spec in specs.items():
        reason = unsuited(problem, spec)
        if reason is not None:
            lesson.left[label] = reason
            continue
        try:
            lesson.learned[label] = _learned(problem, spec, counts)
        except InputError as error:
            lesson.left[label] = str(error).rstrip(".")
        except NotANumber as error:
            lesson.failed[label] = str(error).rstrip(".")
    return lesson


def _learned(problem: RowProblem, spec: Spec, counts: WinnerCounts) -> Learned:
    """One algorithm on the counts."""
    algorithm, sets = build_algorithm(spec), problem.data.sets
    if spec["name"] == "pessimistic_mle":
        scale = wilks_scale(problem, counts, curvature(problem))
        algorithm = replace(algorithm, scale=scale)  # type: ignore[type-var]
    fit = algorithm.fit(problem.view, counts, None)
    return Learned(
        sets.fold(fit.policy.probabilities())[0],
        None if fit.reward is None else fit.reward[0][sets.real],
        None if fit.lam is None else float(fit.lam[0]),
        None if fit.gap is None else float(fit.gap[0]),
    )


def curvature(problem: RowProblem) -> float:
    """The mean of `σ′` at the margins of the ridge fit."""
    rows, data = problem.differences(), problem.data
    margins = rows @ pair_fit(rows, data.weight, data.unit)
    weight = data.weight / data.weight.sum()
    return float((weight * margins.sigmoid() * (-margins).sigmoid()).sum())


@dataclass(frozen=True)
class Judged:
    """A policy's report, with `C_γ` at `γ = 1/n`."""

    report: PolicyReport
    regularised: float


def judge(
    view: LearnerView, counts: WinnerCounts, policies: dict[str, Tensor]
) -> dict[str, Judged]:
    """What the data say of each policy."""
    n, features = float(counts.n[0]), view.reward_class.features  # type: ignore[attr-defined]
    pairs = counts.fraction[0] / view.rho[:, None, None]
    reports = policies_report(view, counts, policies, MULTIPLES)
    tables = torch.stack(list(policies.values()))
    regularised = ridge_concentrability(features, view.rho, pairs, tables, view.baseline, 1 / n)
    values = zip(reports.items(), regularised.tolist(), strict=True)
    return {name: Judged(report, value) for (name, report), value in values}
