"""(T1) for numbers of one's own: no tensors, no problem, one number and its terms."""

from __future__ import annotations

from dataclasses import dataclass

from spac_theory import checks
from spac_theory.bounds.upper import finite_complexity, oracle_lambda, upper_bound
from spac_theory.links import BRADLEY_TERRY, Link


@dataclass(frozen=True)
class PlainBound:
    """`value` holds with probability at least `1 − δ`; it is the sum of its terms.

    `lam` is the `λ` it was taken at; `vacuous` says whether it exceeds `R`, so that it says nothing.
    """

    value: float
    coverage: float
    statistics: float
    optimisation: float
    lam: float
    vacuous: bool

    def __float__(self) -> float:
        return self.value


def bound(
    *,
    C: float,
    n: int,
    R: float,
    members: int,
    delta: float = 0.1,
    lam: float | None = None,
    gap: float = 0.0,
    link: Link = BRADLEY_TERRY,
) -> PlainBound:
    """(T1): `J(π_c) − J(π̂) ≤ κ C/λ + λ ε_n + gap`, where `ε_n = (2/n) log(members/δ)`.

    Parameters
    ----------
    C : concentrability of the policy one compares with, at least 0; may be infinite
    n : comparisons, at least 1
    R : largest difference of two rewards at one context
    members : how many rewards the class has; for an infinite one the size of a net, whose radius then
        adds to the bound (:func:`spac_theory.bounds.covering_complexity` does both)
    delta : the bound may fail with this probability, in (0, 1)
    lam : weight of the preference loss; by default `λ* = √(κ C/ε_n)`, which makes the bound least
    gap : certified accuracy to which the game was solved

    Raises InputError for a value outside its range.
    """
    checks.integer("n", n, low=1)
    c = checks.number("C", C, low=0, infinite=True)
    r = checks.number("R", R, low=0)
    size = finite_complexity(members, n, delta)  # type: ignore[arg-type]
    chosen = oracle_lambda(r, c, size, link) if lam is None else lam
    if lam is not None:
        checks.number("lam", lam, low=0, open_low=True)
    terms = upper_bound(r, c, size, chosen, checks.number("gap", gap, low=0), link)
    value = float("inf") if c == float("inf") else float(terms.total)
    parts = (float(terms.coverage), float(terms.statistics), float(terms.optimisation))
    return PlainBound(value, *parts, float(chosen), vacuous=value > r)
