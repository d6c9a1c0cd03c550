"""How well data cover a policy: theory (8) for every class, and its relatives."""

from spac_theory.concentrability.classes import (
    Coefficient,
    Design,
    all_policies_of,
    claimed,
    concentrability_of,
    of_all_functions,
    ratio,
    seen,
)
from spac_theory.concentrability.linear import (
    AllPolicy,
    all_policy_concentrability,
    mean_feature,
    pair_covariance,
    ridge_concentrability,
    single_policy_concentrability,
)
from spac_theory.concentrability.ratios import (
    coverability,
    density_ratio,
    every_policy_ratio,
    kl_ball_ratio,
    largest_ratio,
    mean_ratio,
)

__all__ = [
    "AllPolicy",
    "Coefficient",
    "Design",
    "all_policies_of",
    "all_policy_concentrability",
    "claimed",
    "concentrability_of",
    "coverability",
    "density_ratio",
    "every_policy_ratio",
    "kl_ball_ratio",
    "largest_ratio",
    "mean_feature",
    "mean_ratio",
    "of_all_functions",
    "pair_covariance",
    "ratio",
    "ridge_concentrability",
    "seen",
    "single_policy_concentrability",
]
