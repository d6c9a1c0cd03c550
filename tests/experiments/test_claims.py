"""A small version of every claim; `make claims` runs them in full."""

from __future__ import annotations

import pytest

from experiments.claims import CLAIMS, Outcome, statement
from experiments.claims.__main__ import Row, page

REFUTED = {
    "chosen_queries_help_at_any_budget",
    "chosen_queries_need_no_coverage",
}  # false already at small size; kept on the page


@pytest.mark.parametrize("name", list(CLAIMS))
def test_claim_comes_out_at_small_size(name: str) -> None:
    claim = CLAIMS[name]
    assert statement(claim), f"claim {name} makes no statement"
    outcome = claim("small")
    assert outcome.holds is (name not in REFUTED), outcome.figure


def test_the_page_keeps_what_was_not_run_again_and_counts_what_failed() -> None:
    def row(name: str, holds: bool, figure: str) -> Row:
        return Row(name, f"{name} is so. And more.", Outcome(holds, figure), 1.2)

    first, second, *_ = CLAIMS
    old = page([row(first, True, "old figure"), row(second, False, "a failure")])
    new = page([row(first, True, "new figure")], old)
    assert "old figure" not in new
    assert "- Holds: new figure.\n" in new
    assert "- **Fails**: a failure.\n" in new
    assert f"2 of {len(list(CLAIMS))} claims have been run in full; 1 failed." in new
    assert f"| [{second}](#{second}) | {second} is so. | **fails** |" in new
    assert page([], new) == new
