"""The wheel is the library, whole and typed, and works where there is no checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, unpacked; built from a copy so that nothing is left behind."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    wanted = ["spac_theory", "pyproject.toml", "README.md", "LICENSE"]
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z", *wanted],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*build, "-w", folder, source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_the_library_alone(wheel: Path) -> None:
    folders = {path.name for path in wheel.iterdir() if not path.name.endswith(".dist-info")}
    assert folders == {"spac_theory"}
    assert (wheel / "spac_theory/py.typed").is_file()
    shipped = {str(p.relative_to(wheel)) for p in wheel.rglob("*.py")}
    here = {str(p.relative_to(ROOT)) for p in (ROOT / "spac_theory").rglob("*.py")}
    assert shipped == here


def test_the_wheel_names_what_the_library_imports_and_no_more(wheel: Path) -> None:
    (metadata,) = wheel.glob("*.dist-info/METADATA")
    needed = re.findall(r"^Requires-Dist: ([\w-]+)[^;\n]*$", metadata.read_text(), re.M)
    assert set(needed) == {"numpy", "scipy", "torch"}


def test_the_readmes_lines_run_from_the_wheel_away_from_the_checkout(
    wheel: Path, tmp_path: Path
) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    code = f"{snippet}\nimport spac_theory\nprint(spac_theory.__file__)\n"
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    *printed, place = done.stdout.splitlines()
    assert Path(place) == wheel / "spac_theory/__init__.py"
    assert len(printed) == 3


def test_pre_commit_runs_what_make_lint_runs() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    entries = [hook["entry"].replace(".venv/bin/", "") for hook in hooks]
    makefile = (ROOT / "Makefile").read_text()
    recipe = makefile[makefile.index("\nlint:") :].split("\n\n")[0].splitlines()[2:]
    lint = [line.strip() for line in recipe]
    lint = [line.replace("$(PY)", "python").replace("$(VENV)/bin/", "") for line in lint]
    assert entries == lint
