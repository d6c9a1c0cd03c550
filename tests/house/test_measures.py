"""The house stays a house: thresholds on its measures."""

from __future__ import annotations

from pathlib import Path

import pytest

from .measure import circles, measure, modules

ROOT = Path(__file__).resolve().parents[2]
AT_ROOT = 12  # plain modules at the root of a package


@pytest.mark.parametrize("package", ["spac_theory", "experiments", "llm"])
def test_functions_fit_on_a_screen(package: str) -> None:
    found = measure(ROOT, package)
    assert found.at_root <= AT_ROOT
    assert found.median <= 8
    assert found.ninth <= 25
    assert max(found.lengths) <= 50, found.longest
    assert found.largest_file <= 450


def test_folders_of_the_experiments_know_no_circle() -> None:
    found = measure(ROOT, "experiments")
    assert found.mutual == []
    assert found.circles == []


def test_programs_of_the_experiments_are_thin() -> None:
    for path in (ROOT / "experiments").glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 40, path.name


def test_every_study_has_the_same_three_parts() -> None:
    names = modules(ROOT, "experiments")
    studies = {name.split(".")[2] for name in names if name.startswith("experiments.studies.")}
    small = studies - {"sweep", "league", "diagnosis"}
    for study in small:
        parts = {
            n.rpartition(".")[2] for n in names if n.startswith(f"experiments.studies.{study}.")
        }
        assert {"cells", "analysis", "figure"} <= parts


def test_circles_are_found() -> None:
    assert circles({("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")}) == [["a", "b", "c"]]
    assert circles({("a", "b"), ("b", "c")}) == []
