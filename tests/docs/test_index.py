"""The tables of the methods' index are made from declarations, and are those of now."""

from __future__ import annotations

from experiments.engine.index import PAGE, TABLES, ours, page, pages
from spac_theory import make_algorithm

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_tables_are_those_that_the_command_writes() -> None:
    """`python -m experiments.engine.index` was run after the last change."""
    assert page(TEXT) == TEXT
    assert all(TEXT.count(f"<!-- end {name} -->") == 1 for name in TABLES)


def test_a_line_that_someone_edits_is_written_again() -> None:
    wrong = TEXT.replace("| `spac` | [spac](spac.md) |", "| `spac` | [spac](elsewhere.md) |")
    wrong = wrong.replace("all-policy density ratio", "some density ratio")
    assert wrong != TEXT
    assert page(wrong, ["coefficients"]).count("some density ratio") == 0
    assert "elsewhere" in page(wrong, ["coefficients"])


def test_every_method_has_a_page_that_is_named_once() -> None:
    found = pages()
    assert set(ours()) - set(found) == {"uniform", "behaviour_cloning"}
    assert set(found) <= set(ours())


def test_what_is_paid_for_is_marked_as_such() -> None:
    table = TEXT.partition("<!-- algorithms")[2].partition("<!-- end")[0]
    paid = {line.split("`")[1] for line in table.splitlines() if "(paid)" in line}
    assert paid == {name for name in ours() if make_algorithm(name).spends}
