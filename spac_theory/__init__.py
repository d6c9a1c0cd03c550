"""Exact offline preference optimisation in contextual bandits: the theory half of the laboratory.

Everything the programs do is available here without Hydra::

    from spac_theory import LearnerView, coverage, make_algorithm, make_behaviour, make_problem

See `docs/theory.md` for the mathematics; numbers such as (3) in docstrings are those of that page.
"""

from spac_theory.algorithms import ALGORITHMS, make_algorithm
from spac_theory.bandit.contextual import ContextualBandit
from spac_theory.bandit.preferences import (
    PreferenceModel,
    WinnerCounts,
    pair_law,
    sample_winner_counts,
    winner_law,
)
from spac_theory.behaviours import BEHAVIOURS, make_behaviour
from spac_theory.bounds.plain import PlainBound, bound
from spac_theory.checks import InputError
from spac_theory.concentrability.coverage import coverage
from spac_theory.links import BRADLEY_TERRY, PROBIT
from spac_theory.problems import (
    PROBLEMS,
    Problem,
    make_problem,
    table_problem,
    uniform_profile,
)
from spac_theory.registry import load_plugins
from spac_theory.rewards.linear import LinearClass, tabular_class
from spac_theory.saddle.game import Certificate, Game, Saddle, certify
from spac_theory.saddle.linear import fast_saddle
from spac_theory.saddle.mirror_descent import mirror_descent
from spac_theory.view import Fit, LearnerView, Oracle

__all__ = [
    "ALGORITHMS",
    "BEHAVIOURS",
    "BRADLEY_TERRY",
    "PROBIT",
    "PROBLEMS",
    "Certificate",
    "ContextualBandit",
    "Fit",
    "Game",
    "InputError",
    "LearnerView",
    "LinearClass",
    "Oracle",
    "PlainBound",
    "PreferenceModel",
    "Problem",
    "Saddle",
    "WinnerCounts",
    "bound",
    "certify",
    "coverage",
    "fast_saddle",
    "load_plugins",
    "make_algorithm",
    "make_behaviour",
    "make_problem",
    "mirror_descent",
    "pair_law",
    "sample_winner_counts",
    "table_problem",
    "tabular_class",
    "uniform_profile",
    "winner_law",
]
