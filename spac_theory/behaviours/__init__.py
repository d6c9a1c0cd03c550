"""Families of behaviour policies with a dial, one file each."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from spac_theory.problems import Problem
from spac_theory.registry import Registry, build


class BehaviourFamily(Protocol):
    """A frozen dataclass of options whose `policy` turns the dial.

    `dial_name` says what the dial is, `dial_range` the interval it may take.
    """

    dial_name: str
    dial_range: tuple[float, float]

    def policy(self, problem: Problem, dial: float) -> Tensor:
        """The behaviour `μ`, `(X, A)`."""
        ...


BEHAVIOURS: Registry[type[BehaviourFamily]] = Registry("behaviour", "spac_theory.behaviours")


def make_behaviour(name: str, **options: Any) -> BehaviourFamily:
    """The family `name`; InputError for unknown names, options or values."""
    family: BehaviourFamily = build(f"behaviour {name!r}", BEHAVIOURS[name], options)
    return family
