"""A small version of every claim; `make claims` runs them in full."""

from __future__ import annotations

import pytest

from experiments.claims import CLAIMS, statement

REFUTED = {"chosen_queries_help_at_any_budget"}  # false, and kept on the page with their figures


@pytest.mark.parametrize("name", list(CLAIMS))
def test_claim_comes_out_at_small_size_as_on_the_page(name: str) -> None:
    claim = CLAIMS[name]
    assert statement(claim), f"claim {name} makes no statement"
    outcome = claim("small")
    assert outcome.holds is (name not in REFUTED), outcome.figure
