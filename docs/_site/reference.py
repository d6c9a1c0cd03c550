"""The pages of the reference: one a package, every public module and name in it, from the docstrings."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any

PACKAGES = ("spac_theory", "experiments", "llm")
PROGRAMS = {"__main__"}


def modules(package: str) -> list[str]:
    """Every public module of a package, the package itself first."""
    root = importlib.import_module(package)
    found = [package]
    for info in pkgutil.walk_packages(root.__path__, f"{package}."):
        if not any(part.startswith("_") for part in info.name.split(".")):
            found.append(info.name)
    return sorted(found)


def groups(package: str) -> dict[str, list[str]]:
    """Modules by the page they are on: one a folder, and one for plain modules at the root."""
    pages: dict[str, list[str]] = {}
    for name in modules(package):
        parts = name.split(".")
        page = ".".join(parts[:2]) if len(parts) > 2 or is_package(name) else package
        pages.setdefault(page, []).append(name)
    return pages


def is_package(name: str) -> bool:
    """Whether a module is a folder."""
    return hasattr(importlib.import_module(name), "__path__") and "." in name


def write_pages(app: Any) -> None:
    """Write `api/*.rst` and their index, before the sources are read."""
    folder = Path(app.srcdir) / "api"
    folder.mkdir(exist_ok=True)
    names = []
    for package in PACKAGES:
        for page, members in groups(package).items():
            names.append(page)
            write(folder / f"{page}.rst", page_text(page, members))
    listed = "\n".join(f"   {name}" for name in names)
    write(
        folder / "index.rst", f"Reference\n=========\n\n.. toctree::\n   :maxdepth: 1\n\n{listed}\n"
    )


def page_text(page: str, members: list[str]) -> str:
    """One page: a heading a module, and what it defines."""
    parts = [page, "=" * len(page), ""]
    for name in members:
        if name != page:
            parts += [name, "-" * len(name), ""]
        parts += [
            f".. automodule:: {name}",
            "   :members:",
            "   :ignore-module-all:",
            "   :show-inheritance:",
            "",
            *names_of(name),
        ]
    return "\n".join(parts)


def names_of(module: str) -> list[str]:
    """What a package exports, each with the first line of what it is, and where it is at home."""
    found = importlib.import_module(module)
    if not getattr(found, "__all__", None) or not hasattr(found, "__path__"):
        return []
    lines = [f"What ``{module}`` exports:", ""]
    for name in found.__all__:
        thing = getattr(found, name)
        home = getattr(thing, "__module__", None) or module
        if not isinstance(thing, type) and not callable(thing):
            home = type(thing).__module__
            lines.append(f"- ``{name}``: a :py:obj:`~{home}.{type(thing).__name__}`")
        else:
            lines.append(f"- :py:obj:`{name} <{home}.{thing.__name__}>`")
    return [*lines, ""]


def write(path: Path, text: str) -> None:
    """Write where the text is new, so that a second build is quick."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Write the pages when the builder starts."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True}
