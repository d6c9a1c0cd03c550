"""The rules of the house, checked on the files that git tracks."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]

# Written so that neither pattern matches its own source.
MACHINE_PATH = re.compile(r"(?<![\w.~})>])/(?:work|root|farm|home|Users|mnt|opt)/[\w.-]+")
OPEN_MARKER = re.compile(r"\b(?:TO[D]O|FIX[M]E|X{3})\b")
OPEN_HALVES = [("TO", "DO"), ("FIX", "ME"), ("XX", "X")]


def tracked_files() -> list[str]:
    """Paths of the files that git tracks and that exist, relative to the root."""
    if not (ROOT / ".git").exists():
        pytest.skip("this copy is no git checkout")
    command = ["git", "ls-files", "-z"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for path in listing.split("\0") if (ROOT / path).is_file()]


def tracked_lines() -> Iterator[tuple[str, str]]:
    """`("path:line", text)` for every line of every tracked text file."""
    for path in tracked_files():
        content = (ROOT / path).read_bytes()
        if b"\0" in content:
            continue
        for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
            yield f"{path}:{number}", line


def matches(pattern: re.Pattern[str]) -> list[str]:
    return [f"{where}: {line.strip()}" for where, line in tracked_lines() if pattern.search(line)]


def test_no_absolute_path_of_a_machine() -> None:
    assert matches(MACHINE_PATH) == []


def test_no_open_marker() -> None:
    assert matches(OPEN_MARKER) == []


@pytest.mark.parametrize("folder", ["work", "root", "farm", "home", "Users", "mnt", "opt"])
def test_the_path_pattern_finds_paths_and_spares_addresses(folder: str) -> None:
    assert MACHINE_PATH.search(f"open('/{folder}/somebody/file')")
    assert MACHINE_PATH.search(f"file:///{folder}/x")
    assert not MACHINE_PATH.search(f"https://example.org/{folder}/page")
    assert not MACHINE_PATH.search(f"docs/{folder}/page.md and $(ROOT)/{folder}/page.md")


def test_the_marker_pattern_finds_markers_and_spares_words() -> None:
    assert all(OPEN_MARKER.search(f"# {left}{right}: later") for left, right in OPEN_HALVES)
    assert not OPEN_MARKER.search("a mastodon fixes XXXL sizes")


# --- the test command -----------------------------------------------------------------------------


def test_ci_run_is_executable_and_calls_make_test() -> None:
    lines = (ROOT / ".ci/run").read_text().splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines
    assert lines[-1] == "exec make test"
    assert os.access(ROOT / ".ci/run", os.X_OK)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_test_runs_every_check() -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "--dry-run", "test"]
    plan = subprocess.run(
        command, cwd=ROOT, env=clean, check=True, capture_output=True, text=True
    ).stdout
    checks = ["ruff check", "ruff format --check", "mypy", "lint-imports", "pytest"]
    places = [plan.find(check) for check in checks]
    assert -1 not in places
    assert places == sorted(places)


# --- dependencies ---------------------------------------------------------------------------------


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements() -> list[Requirement]:
    extras = project()["optional-dependencies"].values()
    return [Requirement(text) for text in sum(extras, start=project()["dependencies"])]


def pins() -> dict[str, Version]:
    """`{canonical name: version}` of constraints.txt; a line that is no plain pin fails here."""
    found = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        pin = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line)
        assert pin, f"constraints.txt holds {line!r}; it must be name==version"
        name = canonicalize_name(pin[1])
        assert name not in found, f"constraints.txt pins {name} twice"
        found[name] = Version(pin[2])
    return found


@pytest.mark.parametrize("requirement", requirements(), ids=lambda r: r.name)
def test_every_requirement_is_pinned_inside_its_range(requirement: Requirement) -> None:
    pinned = pins()
    name = canonicalize_name(requirement.name)
    assert name in pinned, f"{name} is required in pyproject.toml and has no pin in constraints.txt"
    assert pinned[name] in requirement.specifier


def test_constraints_do_not_pin_the_project_itself() -> None:
    assert canonicalize_name(project()["name"]) not in pins()


# --- configuration --------------------------------------------------------------------------------


def yaml_keys(node: yaml.Node | None) -> Iterator[yaml.Node]:
    """The key nodes of a document: every field, but not the choices inside a `defaults` list."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            if key.value != "defaults":
                yield from yaml_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from yaml_keys(item)


def uncommented_fields(text: str) -> list[str]:
    """Fields without a comment on their line or above their paragraph (lines without a blank)."""
    lines = text.splitlines()

    def commented(number: int) -> bool:
        unquoted = re.sub(r"'[^']*'|\"[^\"]*\"", "", lines[number])
        if re.search(r"(^|\s)#\s*\w", unquoted):
            return True
        above = list(itertools.takewhile(str.strip, reversed(lines[:number])))
        return any(re.match(r"\s*#(?! @package)", line) for line in above)

    keys = yaml_keys(yaml.compose(text))
    return [key.value for key in keys if not commented(key.start_mark.line)]


def test_every_configuration_field_has_a_comment() -> None:
    folder = ROOT / "conf"
    if not folder.exists():
        pytest.skip("there is no configuration yet")
    texts = {str(file.relative_to(ROOT)): file.read_text() for file in folder.rglob("*.y*ml")}
    assert texts, "conf/ holds no YAML file"
    bare = {file: fields for file, text in texts.items() if (fields := uncommented_fields(text))}
    assert bare == {}


def test_the_comment_check_tells_commented_fields_from_bare_ones() -> None:
    text = """\
# @package _global_
defaults:
  - problem: rare_lucky

# critic weight, and temperature
lam: 1.0
beta: 0.1

colour: "# no comment"
nested:  # a group
  inner: 1
"""
    assert uncommented_fields(text) == ["defaults", "colour", "inner"]
    assert uncommented_fields("") == []


# --- imports --------------------------------------------------------------------------------------

IMPORT_EVERYTHING = """
import importlib, json, pkgutil, sys
import spac_theory
names = [m.name for m in pkgutil.walk_packages(spac_theory.__path__, "spac_theory.")]
for name in names:
    importlib.import_module(name)
print(json.dumps({"imported": names, "loaded": sorted({m.split(".")[0] for m in sys.modules})}))
"""


def test_the_whole_theory_imports_with_light_packages_only() -> None:
    command = [sys.executable, "-c", IMPORT_EVERYTHING]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    report = json.loads(output)
    assert "spac_theory.objective" in report["imported"]
    heavy = {"hydra", "omegaconf", "cvxpy", "datasets", "transformers", "trl", "matplotlib"}
    heavy |= {"polars", "pyarrow", "pandas"}
    assert heavy & set(report["loaded"]) == set()
