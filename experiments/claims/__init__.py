"""Claims: sentences about the methods that a program can find false.

A claim is a function registered here. Its docstring is the sentence; it takes a size ("small" in the
test suite, "full" in `make claims`) and returns whether the sentence held and the figure behind
it. A claim that fails stays on the page.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spac_theory.registry import Registry


@dataclass(frozen=True)
class Outcome:
    """Whether a claim held, and one line of figures that says by how much."""

    holds: bool
    figure: str


Claim = Callable[[str], Outcome]
CLAIMS: Registry[Claim] = Registry("claim", "experiments.claims")
SIZES = ("small", "full")


def statement(claim: Claim) -> str:
    """The sentence a claim makes: its docstring, on one line."""
    return " ".join((claim.__doc__ or "").split())
