"""A small version of every claim; `make claims` runs them in full."""

from __future__ import annotations

import pytest

from experiments.claims import CLAIMS, statement


@pytest.mark.parametrize("name", list(CLAIMS))
def test_claim_holds_at_small_size(name: str) -> None:
    claim = CLAIMS[name]
    assert statement(claim), f"claim {name} makes no statement"
    outcome = claim("small")
    assert outcome.holds, outcome.figure
