"""What the algorithms make of preference rows: policies over recorded answers, and their rewards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from experiments.engine.specs import Spec, build_algorithm
from experiments.studies.diagnosis.rows import RowProblem, pair_fit, wilks_scale
from spac_theory import InputError, WinnerCounts
from spac_theory.concentrability.linear import ridge_concentrability
from spac_theory.learning.diagnosis import PolicyReport, policies_report
from spac_theory.view import LearnerView

SUITED = ("spac", "spac_constrained", "pessimistic_mle", "mle_greedy", "dpo", "behaviour_cloning")
UNSUITED_RULES = ("held_out", "oracle")
MULTIPLES = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)  # of √n: the λ tried for the lower bounds


@dataclass(frozen=True)
class Learned:
    """A policy `(X, A)` with nothing on repeats; its reward `(N,)` or None, and `λ` or None."""

    policy: Tensor
    reward: Tensor | None
    lam: float | None
    gap: float | None


def suited(specs: dict[str, Spec]) -> dict[str, Spec]:
    """The algorithms that treat prompts with answers of their own by the thousand."""
    return {
        label: spec
        for label, spec in specs.items()
        if spec["name"] in SUITED
        and spec["options"].get("lam") not in UNSUITED_RULES
        and spec["options"].get("form") != "pointwise"
    }


def learn(
    problem: RowProblem, specs: dict[str, Spec], counts: WinnerCounts
) -> Iterator[tuple[str, Learned]]:
    """Fit every algorithm to `counts`; `pessimistic_mle` gets Wilks' radius."""
    sets = problem.data.sets
    for label, spec in specs.items():
        algorithm = build_algorithm(spec)
        if spec["name"] == "pessimistic_mle":
            scale = wilks_scale(problem, counts, curvature(problem))
            algorithm = replace(algorithm, scale=scale)  # type: ignore[type-var]
        reason = algorithm.skip(problem.view, None)
        if reason is not None:
            raise InputError(f"algorithm {label} cannot treat these rows: {reason}.")
        fit = algorithm.fit(problem.view, counts, None)
        reward = None if fit.reward is None else fit.reward[0][sets.real]
        yield (
            label,
            Learned(
                sets.fold(fit.policy.probabilities())[0],
                reward,
                None if fit.lam is None else float(fit.lam[0]),
                None if fit.gap is None else float(fit.gap[0]),
            ),
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
