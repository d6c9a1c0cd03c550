"""The theorem on random instances."""

from __future__ import annotations

from experiments.claims import CLAIMS, Outcome
from experiments.engine.study import stacked
from experiments.studies.violations.analysis import BOUNDS
from experiments.studies.violations.cells import cells_of, compute
from spac_theory.statistics import clopper_pearson


@CLAIMS.register("theorem_is_not_violated")
def theorem_is_not_violated(size: str) -> Outcome:
    """The theorem is not violated more often than it allows.

    On random realizable instances over finite, linear and kernel classes, (T1), its textbook form
    and the event (H) each fail at most as often as δ = 0.1 allows (upper Clopper–Pearson limit).
    """
    instances, per_group = (300, 50) if size == "small" else (20_100, 100)
    rows = stacked(cells_of(instances, per_group, 0.1), compute)
    parts, holds = [], True
    for name in ("t1", "textbook", "h"):
        words, ratio = BOUNDS[name], rows[name].to_numpy()
        events = int((~(ratio <= 1)).sum())  # a NaN is a violation
        limit = clopper_pearson(events, len(ratio)).high
        holds &= limit <= 0.1
        q = sorted(ratio)
        median, high = q[len(q) // 2], q[int(0.99 * len(q))]
        parts.append(
            f"{words} {events} of {len(ratio)} (at most {limit:.1e}); measured/bound median {median:.1e}, "
            f"99 % {high:.2f}, largest {q[-1]:.2f}"
        )
    return Outcome(holds, "; ".join(parts))
