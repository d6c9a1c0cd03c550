"""The rate of the theorem, and that its bound means something."""

from __future__ import annotations

from experiments.claims import CLAIMS, Outcome
from experiments.engine.study import stacked
from experiments.studies.rates.analysis import analyse
from experiments.studies.rates.cells import (
    COVERAGES,
    FIXED_SIZES,
    SIZES,
    cell,
    cells_of,
    compute,
)


@CLAIMS.register("rate_is_half")
def rate_is_half(size: str) -> Outcome:
    """The rate is n^(-1/2).

    On instances with gaps of order √(C/n), SPAC at the theorem's λ* has log-log slope −1/2 ± 0.03 in
    n from 1e4 to 1e9 at each of five coverages (95 % bootstrap intervals no wider than ± 0.02), and all
    curves are one line in √(C/n): R² ≥ 0.98 with its slope fixed at 1.
    """
    seeds = 100 if size == "small" else 1000
    cells = cells_of(COVERAGES, SIZES, seeds, 0.1, 4.0, 0.0, 0.1, ())
    found = analyse(stacked(cells, compute), 0.1)
    worst = max(abs(s.estimate + 0.5) for s in found.slopes.values())
    widest = max(s.half_width for s in found.slopes.values())
    holds = worst <= 0.03 and widest <= 0.02 and found.collapse >= 0.98
    p = found.pooled
    return Outcome(
        holds,
        f"pooled slope {p.estimate:.4f} [{p.low:.4f}, {p.high:.4f}]; by coverage at most {worst:.3f} from "
        f"−1/2, half-widths up to {widest:.3f}; collapse R² {found.collapse:.4f}; {seeds} seeds",
    )


@CLAIMS.register("bound_above_quantile")
def bound_above_quantile(size: str) -> Outcome:
    """The upper bound lies above the measured quantile, and is not empty.

    On the same instances (T1) at λ* lies above the upper confidence limit of the (1 − δ)-quantile at
    every coverage and sample size, and says something (is below R) in at least 90 % of the cells.
    """
    seeds = 100 if size == "small" else 1000
    sizes = SIZES[::2] if size == "small" else SIZES
    cells = cells_of(COVERAGES, sizes, seeds, 0.1, 4.0, 0.0, 0.1, ())
    rows = stacked(cells, compute)
    found = analyse(rows, 0.1)
    ratio = float((rows["suboptimality"] / rows["bound_upper"]).max())  # type: ignore[arg-type]
    return Outcome(
        found.above is True and found.useful >= 0.9,
        f"{len(cells)} cells of {seeds} seeds: above everywhere: {found.above}; below R in "
        f"{found.useful:.0%}; largest measured/bound {ratio:.3f}",
    )


@CLAIMS.register("fixed_gap_is_faster")
def fixed_gap_is_faster(size: str) -> Outcome:
    """A fixed gap is learned faster.

    With a gap that does not shrink the local slope ends steeper than −1: a sign is wrong with a
    probability that falls exponentially in n g²/C, so no power of n is the rate.
    """
    seeds = 100 if size == "small" else 1000
    cells = [cell(0.1, n, seeds, 0.1, 4.0, 0.1) for n in FIXED_SIZES[-5:]]
    moving = cells_of((0.1,), SIZES[:2], seeds, 0.1, 4.0, 0.0, 0.1, ())
    found = analyse(stacked(cells + moving, compute), 0.1)
    last = found.fixed[-1]
    slopes = ", ".join(f"{s.estimate:.2f}" for s in found.fixed)
    return Outcome(last.high < -1, f"local slopes {slopes}; the last one is below {last.high:.2f}")
