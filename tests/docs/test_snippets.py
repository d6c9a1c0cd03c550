"""What the documentation shows is run: every Python block of a page, in order, in one session."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["docs/theory.md", "docs/extending.md", "README.md"]


def blocks(page: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_run(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = blocks(page)
    assert found, f"{page} shows no Python"
    session = types.ModuleType("snippet")
    monkeypatch.setitem(sys.modules, "snippet", session)
    for number, block in enumerate(found):
        exec(compile(block, f"{page}, block {number}", "exec"), session.__dict__)


def plots(text: str) -> bool:
    return "plt.subplots(" in text


NOTEBOOKS = sorted(p for p in (ROOT / "notebooks").glob("*.py") if p.stem != "make")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_as_plain_code_and_draws(path: Path, tmp_path: Path) -> None:
    """Its own assertions hold; it leaves nothing in the folder it is run from."""
    assert plots(path.read_text(encoding="utf-8"))
    if path.stem == "quickstart":
        return  # below
    clean = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, str(path)], cwd=tmp_path, env=clean, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())


def test_a_notebook_is_executed_with_its_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest of them through a kernel: the executed file carries a picture."""
    nbformat = pytest.importorskip("nbformat", reason="pip install -e '.[notebooks]'")
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    jupytext = pytest.importorskip("jupytext")
    found = jupytext.read(ROOT / "notebooks/theorem_by_hand.py")
    cells = [c for c in found.cells if c.cell_type == "code" and "import" in c.source][:1]
    cells.append(
        nbformat.v4.new_code_cell("figure, axes = plt.subplots(); axes.plot([1, 2]); plt.show()")
    )
    found.cells = cells
    from nbclient import NotebookClient

    monkeypatch.delenv("MPLBACKEND", raising=False)  # a kernel draws inline unless it is told
    NotebookClient(found, timeout=120, resources={"metadata": {"path": str(ROOT)}}).execute()
    kinds = {kind for output in found.cells[-1].outputs for kind in output.get("data", {})}
    assert "image/png" in kinds


def test_quickstart_notebook_runs_and_shows_what_it_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    runpy.run_path(str(ROOT / "notebooks" / "quickstart.py"))
    shown = capsys.readouterr().out
    rows = {
        line.rsplit(maxsplit=1)[0].strip(): float(line.split()[-1])
        for line in shown.splitlines()
        if line.startswith(("SPAC, λ = √n ", "DPO, by gradient ", "maximum likelihood"))
        and line.count(".") == 1
    }
    assert rows["SPAC, λ = √n"] < 0.5 * rows["DPO, by gradient"]
    assert rows["SPAC, λ = √n"] < 0.5 * rows["maximum likelihood"]
