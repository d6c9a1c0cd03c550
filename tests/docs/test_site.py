"""The documentation as a site: every public name is on a page; the whole builds without a warning."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "docs/_site"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"site_{name}", SITE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("package", ["spac_theory", "spac_theory.bounds", "experiments.results"])
def test_every_public_name_is_documented_on_a_page(package: str) -> None:
    reference = load("reference")
    root = package.partition(".")[0]
    pages = {m for members in reference.groups(root).values() for m in members}
    listed = "\n".join(reference.names_of(package))
    found = importlib.import_module(package)
    for name in found.__all__:
        thing = getattr(found, name)
        home = thing.__module__ if callable(thing) else type(thing).__module__
        if home == "builtins":
            continue  # plain data: its module says what it is
        assert home in pages, name
        assert inspect.getdoc(thing if callable(thing) else type(thing)), name
        assert re.search(rf"`+{name}\b", listed), name


def test_formulas_are_told_from_names() -> None:
    pytest.importorskip("docutils", reason="pip install -e '.[docs]'")
    formulas = load("formulas")
    for text in ("π_t(a|x)", "λ", "(S, X, A)", "2√(κ C ε_n) + net", "n", "C(π*)"):
        assert formulas.is_formula(text), text
    for text in ("objective.E_D", "make_problem", "--help", "conf/algorithm.yaml", "grid.n=[1]"):
        assert not formulas.is_formula(text), text
    assert formulas.formula_html("ε_n^2") == (
        '<span class="formula">ε<sub>n</sub><sup>2</sup></span>'
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_site_builds_without_a_warning_and_asks_no_network(tmp_path: Path) -> None:
    pytest.importorskip("furo", reason="pip install -e '.[docs]'")
    words = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    subprocess.run([*words, str(ROOT / "docs"), str(tmp_path)], cwd=ROOT, check=True)
    assert (tmp_path / "searchindex.js").is_file()
    page = (tmp_path / "api/spac_theory.bounds.html").read_text(encoding="utf-8")
    assert '<span class="formula">ε<sub>n</sub>' in page
    for path in [tmp_path / "index.html", tmp_path / "theory.html"]:
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?://', text)
