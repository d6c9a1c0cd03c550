"""What the documentation shows is run: every Python block of a page, in order, in one session."""

from __future__ import annotations

import re
import runpy
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
