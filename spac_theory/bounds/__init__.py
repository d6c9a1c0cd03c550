"""Bounds of the theory as numbers, every term apart: (T1), (T2), corollaries, the lower bound."""

from spac_theory.bounds.constraint import ConstraintBound, constraint_bound
from spac_theory.bounds.loosened import (
    empirical_contexts,
    greedy_contexts,
    misspecification,
    ridge_statistics,
)
from spac_theory.bounds.lower import (
    LowerBound,
    Rivals,
    divergence,
    find_rivals,
    local_lower_bound,
    separation,
    two_point_bound,
)
from spac_theory.bounds.plain import PlainBound, bound
from spac_theory.bounds.projection import distance, projected_complexity, projection
from spac_theory.bounds.upper import (
    Complexity,
    UpperBound,
    best_upper_bound,
    covering_complexity,
    finite_complexity,
    oracle_lambda,
    upper_bound,
)

__all__ = [
    "Complexity",
    "ConstraintBound",
    "LowerBound",
    "PlainBound",
    "Rivals",
    "UpperBound",
    "best_upper_bound",
    "bound",
    "constraint_bound",
    "covering_complexity",
    "distance",
    "divergence",
    "empirical_contexts",
    "find_rivals",
    "finite_complexity",
    "greedy_contexts",
    "local_lower_bound",
    "misspecification",
    "oracle_lambda",
    "projected_complexity",
    "projection",
    "ridge_statistics",
    "separation",
    "two_point_bound",
    "upper_bound",
]
