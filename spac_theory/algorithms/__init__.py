"""Algorithms, one file each; importing the registry finds them all."""

from __future__ import annotations

from typing import Any

from spac_theory.registry import Registry, build
from spac_theory.view import Algorithm

__all__ = ["ALGORITHMS", "Algorithm", "make_algorithm"]

ALGORITHMS: Registry[type[Algorithm]] = Registry("algorithm", "spac_theory.algorithms")


def make_algorithm(name: str, **options: Any) -> Algorithm:
    """The algorithm `name` with its options; InputError for unknown names, options or values."""
    algorithm: Algorithm = build(f"algorithm {name!r}", ALGORITHMS[name], options)
    return algorithm
