"""Every picture of the documentation has a command that makes it, and says which."""

from __future__ import annotations

import importlib.util
import re
import struct
import zlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs/figures"


def load_make():
    spec = importlib.util.spec_from_file_location("make_figures", FOLDER / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PICTURES = load_make().pictures()


def text_chunks(path: Path) -> dict[str, str]:
    """The text that a PNG carries, read by hand: keyword to text."""
    data, place, found = path.read_bytes(), 8, {}
    while place < len(data):
        (size,), kind = struct.unpack(">I", data[place : place + 4]), data[place + 4 : place + 8]
        body = data[place + 8 : place + 8 + size]
        if kind == b"tEXt":
            key, _, value = body.partition(b"\0")
            found[key.decode("latin-1")] = value.decode("latin-1")
        if kind == b"iTXt":
            key, _, rest = body.partition(b"\0")
            compressed, rest = rest[0], rest[2:].split(b"\0", 2)[2]
            value = zlib.decompress(rest) if compressed else rest
            found[key.decode("latin-1")] = value.decode()
        place += size + 12
    return found


def test_the_list_names_every_picture_and_no_other() -> None:
    assert {path.stem for path in FOLDER.glob("*.png")} == set(PICTURES)


def test_every_picture_is_shown_on_some_page() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    shown = {name for page in pages for name in re.findall(r"figures/(\w+)\.png", page.read_text())}
    assert set(PICTURES) <= shown


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_says_what_made_it(name: str) -> None:
    told = text_chunks(FOLDER / f"{name}.png").get("Description", "")
    words = [w for w in PICTURES[name]["command"].split() if not w.startswith("run_dir=")]
    assert f"command: {' '.join(['python', '-m', *words])};" in told
    assert re.search(r"data: \S+", told)
    assert re.search(r"version: spac-lab [\d.]+, results \d+", told)


@pytest.mark.parametrize("name", PICTURES)
def test_the_command_of_a_picture_is_a_program(name: str) -> None:
    module = PICTURES[name]["command"].split()[0]
    assert (ROOT / (module.replace(".", "/") + ".py")).is_file()
