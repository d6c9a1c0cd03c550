"""Algorithms, one file each; importing the registry finds them all."""

from __future__ import annotations

from typing import Any, Protocol

from spac_theory.preferences import WinnerCounts
from spac_theory.registry import Registry, build
from spac_theory.view import Fit, LearnerView, Oracle


class Algorithm(Protocol):
    """A frozen dataclass of options with two methods.

    `skip` returns a reason in words when the algorithm cannot treat a setting, else None; `fit`
    treats all `S` data sets at once and never grades itself.
    """

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Why this setting cannot be treated, or None."""
        ...

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Learn a policy from each data set."""
        ...


ALGORITHMS: Registry[type[Algorithm]] = Registry("algorithm", "spac_theory.algorithms")


def make_algorithm(name: str, **options: Any) -> Algorithm:
    """The algorithm `name` with its options; InputError for unknown names, options or values."""
    algorithm: Algorithm = build(f"algorithm {name!r}", ALGORITHMS[name], options)
    return algorithm
