"""What a diagnosis says in words, of rows and of logs: what is certified, and what to use."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from spac_theory.learning.diagnosis import PolicyReport

NOTHING = 1e-6  # a certified gain that is none


@dataclass(frozen=True)
class Stand:
    """Learned policies by label: what is certified, what the fit promises, their `λ`; which to use."""

    n: int
    reports: Mapping[str, PolicyReport]
    gains: Mapping[str, float]
    lams: Mapping[str, float | None]

    @property
    def best(self) -> str:
        """The label of the largest bound by Wilks' radius, then by the theorem; the first of equals."""

        def bounds(label: str) -> list[float]:
            report = self.reports[label]
            return [digits(report.improvement_asymptotic), digits(report.improvement)]

        return max(self.reports, key=bounds)


def certified(stand: Stand, what: str, signal: bool = True) -> str:
    """What is certified of the policies, and which to use; `what` they are ("best-of-K by", say)."""
    sure = {k: r.improvement for k, r in stand.reports.items()}
    near, best = stand.reports[stand.best].improvement_asymptotic, stand.best
    if max(sure.values()) > NOTHING:
        label = max(sure, key=lambda k: digits(sure[k]))
        first = f"Certified: {what} {label} gains at least {sure[label]:.3g} over what was recorded"
    else:
        first = "Nothing is certified by the theorem's own constants"
    if near > NOTHING:
        advice = f"Use {best}." if signal else "Without signal, use none."
        return f"{first}; for large n, {best} gains at least {near:.3g}. {advice}"
    more = needed(stand) if signal else "Without signal, more of these will not help."
    return f"{first}, nor for large n. {more}"


def digits(value: float) -> float:
    """Three digits: what solvers leave behind decides nothing."""
    return float(f"{value:.3g}")


def needed(stand: Stand) -> str:
    """How many comparisons would certify the most promising policy: its width falls like `1/√n`."""
    needs = {}
    for label, report in stand.reports.items():
        gain, bound = stand.gains[label], report.improvement_asymptotic
        if gain > NOTHING and math.isfinite(bound):
            needs[label] = stand.n * ((gain - bound) / gain) ** 2
    if not needs:
        return "No policy promises a gain; better features or other data are needed, not more of these."
    label = min(needs, key=lambda k: needs[k])
    return (
        f"If what the fit promises is real, about {rounded(needs[label])} comparisons like these would do "
        f"for {label}."
    )


def rounded(value: float) -> str:
    """Two digits, with thousands set apart."""
    digits = 10 ** max(0, int(math.log10(max(value, 1))) - 1)
    return f"{int(round(value / digits) * digits):,}"


def weight(stand: Stand) -> str:
    """The `λ` to use."""
    lam = stand.lams[stand.best]
    known = {k: v for k, v in stand.lams.items() if v is not None}
    if lam is None and known:
        lam = known[max(known, key=lambda k: stand.reports[k].improvement_asymptotic)]
    if lam is None:
        return "No λ was chosen: no algorithm with one was run."
    return f"λ to use: {lam:.3g}, which is {lam / math.sqrt(stand.n):.3g} √n."
