"""The answer first, in words; then the tables behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from experiments.common.table import Table
from experiments.studies.diagnosis import verdicts
from experiments.studies.diagnosis.evidence import Evidence
from experiments.studies.diagnosis.learned import Judged, Learned, Lesson
from experiments.studies.diagnosis.rows import RowProblem
from experiments.studies.diagnosis.strata import Stratum
from experiments.studies.diagnosis.tidy import plural
from experiments.studies.diagnosis.verdicts import Stand
from spac_theory.learning.diagnosis import DUST
from spac_theory.statistics import Interval

SURE = 0.05  # a permutation test above this has found nothing
SHOWN = 12  # groups on the page
ROUNDING = 1e-12  # a concentrability below it is 0
NEAR = 0.9  # of the norm bound: a fit beyond it lies too near the edge of the class

COLUMNS = {
    "unseen": "mass of the policy on answers that nobody compared",
    "C": "concentrability; infinite where the data do not reach",
    "C_γ": "the same with the prior of the fit (γ = 1/n)",
    "n/C_γ": "roughly how many comparisons speak of this policy",
    "fitted gain": "J(π) − J(ν) by the fitted reward, believed",
    "gain ≥": "certified with probability 1 − δ by the theorem's radius, if the class is right",
    "gain ≥ (n → ∞)": "the same with the asymptotic radius of Wilks",
    "held out": "right on held-out comparisons, learned without them, with a 95 % interval",
}


@dataclass(frozen=True)
class Findings:
    """Everything that was found out about the rows; `fit_norm` is `‖θ̂‖`."""

    problem: RowProblem
    lesson: Lesson
    stand: Stand
    judged: dict[str, Judged]
    gains: dict[str, float]
    evidence: Evidence
    groups: list[Stratum]
    fit_norm: float

    @property
    def learned(self) -> dict[str, Learned]:
        """What was learned, by label."""
        return self.lesson.learned

    @property
    def best(self) -> str:
        """The label of the policy to use."""
        return self.stand.best

    @property
    def n(self) -> int:
        """Comparisons."""
        return self.problem.n


def percent(interval: Interval) -> str:
    """`62.1 % [58.0, 66.0]`."""
    return f"{interval.estimate:.1%} [{interval.low:.1%}, {interval.high:.1%}]"


def verdict(found: Findings) -> list[str]:
    """The answer, a sentence or two a question."""
    return [
        _what(found),
        _signal(found.evidence),
        _length(found.evidence),
        verdicts.certified(found.stand, "best-of-K by", has_signal(found.evidence)),
        _coverage(found),
        verdicts.weight(found.stand),
        *([_class(found)] if found.fit_norm > NEAR * _bound(found) else []),
    ]


def _what(found: Findings) -> str:
    data, projected = found.problem.data, found.problem.projected
    cleaned = data.cleaning.words()
    return (
        f"{plural(found.n, 'comparison')} of {len(data.answers):,} answers to {len(data.prompts):,} prompts "
        f"({cleaned}). Of the features, {plural(found.problem.phi.shape[1], 'axis', 'axes')} with "
        f"{projected.kept:.0%} of what tells the answers of a prompt apart are kept."
    )


def has_signal(evidence: Evidence) -> bool:
    """Whether held-out comparisons are predicted better than by a coin."""
    p = evidence.p_value
    return evidence.agreement["features"].right.low > 0.5 and (p is None or p <= SURE)


def _signal(evidence: Evidence) -> str:
    right, p = evidence.agreement["features"].right, evidence.p_value
    told = "" if p is None else f" (permutation test: p = {p:.2g})"
    if not has_signal(evidence):
        return (
            f"No signal was found: the features are right on {percent(right)} of held-out comparisons{told}. "
            "Do not train on what follows; try other features, or ask whether annotators agree."
        )
    return f"The features carry signal: right on {percent(right)} of held-out comparisons{told}."


def _length(evidence: Evidence) -> str:
    alone, beyond = evidence.agreement["length alone"].right, evidence.beyond_length
    if evidence.longer_wins is None:
        return "All compared answers are of one length, so length explains nothing."
    longer = f"The longer answer wins {percent(evidence.longer_wins)}"
    if evidence.length_alone:
        return (
            f"{longer}, and length alone explains the labels as well as the features do ({percent(alone)} "
            "right): a policy trained on these data may learn to write long."
        )
    limits = (
        f" [{beyond.low:+.1%}, {beyond.high:+.1%}]"
        if math.isfinite(beyond.low)
        else " (too few to say)"
    )
    gain = f"{beyond.estimate:+.1%}{limits}"
    return f"{longer}; length alone is right on {percent(alone)}, the features on {gain} more."


def _bound(found: Findings) -> float:
    return float(found.problem.view.reward_class.norm_bound)  # type: ignore[attr-defined]


def _class(found: Findings) -> str:
    """Which class the certificates are about, and whether the fit lies well inside."""
    bound = _bound(found)
    told = (
        f"The class: rewards linear in the whitened features, norm at most {bound:.3g}; "
        f"δ = {found.problem.view.delta:g}."
    )
    if found.fit_norm <= NEAR * bound:
        return f"{told} The fit has norm {found.fit_norm:.2g}."
    return (
        f"{told} The fit has norm {found.fit_norm:.2g}, so the class may be too small for the reward: no "
        f"certificate counts unless norm_bound is raised (to {2 * found.fit_norm:.2g}, say) and fresh data "
        "are used."
    )


def _coverage(found: Findings) -> str:
    if not found.groups:
        return "Coverage is not broken down: the prompts fall into no groups."
    worst = found.groups[0]
    blind = [g for g in found.groups if g.blind]
    told = (
        f"Least is known where {worst.kind} is {worst.name!r} ({worst.prompts} prompts, C_γ = "
        f"{worst.regularised:.3g}, {worst.unseen:.0%} of {found.best} on answers nobody compared), for "
        f"example {worst.example!r}."
    )
    return (
        f"{told} In {len(blind)} of {len(found.groups)} groups the data do not say whether {found.best} "
        "is better than what was recorded."
    )


def policy_rows(found: Findings) -> list[list[object]]:
    """One row a policy under `COLUMNS`, numbers as they are."""
    rows: list[list[object]] = []
    for label, judged in found.judged.items():
        report, agreed = judged.report, found.evidence.agreement.get(label)
        covered = 0.0 if judged.regularised < ROUNDING else judged.regularised
        rows.append(
            [
                label,
                0.0 if report.unseen_mass < DUST else report.unseen_mass,
                report.concentrability,
                covered,
                found.n / covered if covered else math.inf,
                found.gains[label],
                report.improvement,
                report.improvement_asymptotic,
                "–" if agreed is None else percent(agreed.right),
            ]
        )
    return rows


def group_rows(found: Findings) -> list[list[object]]:
    """One row a group of prompts."""
    return [
        [
            f"{g.kind}: {g.name}",
            g.prompts,
            g.comparisons,
            g.regularised,
            f"{g.advantage:.3g} ± {g.spread:.2g}",
            "not known" if g.blind else "yes",
            0.0 if g.unseen < DUST else g.unseen,
            g.example,
        ]
        for g in found.groups
    ]


GROUP_HEADER = (
    "group",
    "prompts",
    "comparisons",
    "C_γ",
    "fitted gain ± sd",
    "better than ν?",
    "unseen",
    "example",
)


def tables(found: Findings, groups: int = SHOWN) -> list[Table]:
    """Policies, groups of prompts, calibration."""
    bins = [[b.predicted, percent(b.observed), b.comparisons] for b in found.evidence.bins]
    return [
        Table("Policies over the recorded answers", ["policy", *COLUMNS], policy_rows(found)),
        Table(f"Where {found.best} is covered least", GROUP_HEADER, group_rows(found)[:groups]),
        Table(
            "Calibration on held-out comparisons",
            ["predicted", "came true", "comparisons"],
            bins,
            left=0,
        ),
    ]


def left_out(lesson: Lesson) -> list[str]:
    """Why algorithms were not run, or failed; one sentence a reason."""
    reasons: dict[str, list[str]] = {}
    for label, reason in lesson.left.items():
        reasons.setdefault(f"Not run on these rows: {{}} ({reason}).", []).append(label)
    for label, reason in lesson.failed.items():
        reasons.setdefault(f"Failed: {{}} ({reason}).", []).append(label)
    return [sentence.replace("{}", ", ".join(labels)) for sentence, labels in reasons.items()]


def markdown(found: Findings, files: list[str], told: list[str]) -> str:
    """The page; `told` are further sentences."""
    lines = ["# What these preferences can support", ""]
    lines += [f"- {sentence}" for sentence in verdict(found)]
    lines += ["", "![Gains, calibration and coverage](diagnosis.png)", ""]
    lines += [table.markdown("## ") for table in tables(found)]
    lines += [f"- **{name}**: {meaning}." for name, meaning in COLUMNS.items()]
    lines += [
        "",
        f"{_class(found)} Every gain is over ν, the recorded answers as often as they were "
        "compared; every statement is about these prompts. It assumes that the class holds the true reward "
        "and that comparisons are independent: judge the first by the calibration above.",
        "",
        *[f"{sentence}\n" for sentence in [*told, *left_out(found.lesson)]],
        *[f"- `{name}`" for name in files],
        "",
    ]
    return "\n".join(lines)
