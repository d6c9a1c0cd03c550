"""The measures of the house: `python -m tests.house.measure [checkout]`, on any commit's working tree.

Modules at each root, arrows between folders (mutual pairs, circles), lengths of functions, questions by
type, and how many files name one thing of each kind: what has to be touched to add another.
"""

from __future__ import annotations

import ast
import itertools
import re
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("spac_theory", "experiments", "llm")
PROBES = {  # one thing of each kind, by the word that names it
    "algorithm": "simpo",
    "problem": "item_sets",
    "behaviour": "starving",
    "reward class": "KernelClass",
    "study": "lambda_choice",
    "claim": "rate_is_half",
}


@dataclass(frozen=True)
class Measures:
    """What was measured of one package."""

    package: str
    at_root: int
    modules: int
    arrows: int
    mutual: list[tuple[str, str]]
    circles: list[list[str]]
    lengths: list[int]
    longest: str
    by_type: int
    largest_file: int

    @property
    def median(self) -> float:
        """Median length of a function's body."""
        return statistics.median(self.lengths)

    @property
    def ninth(self) -> int:
        """Nine functions in ten are no longer."""
        return sorted(self.lengths)[int(0.9 * len(self.lengths))]


def modules(root: Path, package: str) -> dict[str, Path]:
    """Dotted name to file of every module."""
    found = {}
    for path in sorted((root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path
    return found


def room(module: str, known: dict[str, Path]) -> str:
    """The folder of a module (a plain module at the root is a room of its own)."""
    parts = module.split(".")
    is_folder = known[module].name == "__init__.py"
    return ".".join(parts[: len(parts) if is_folder and len(parts) > 1 else max(len(parts) - 1, 2)])


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of the package that a file imports, at its head or inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full in known:
                    yield full
                elif node.module in known:
                    yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)


def arrows(known: dict[str, Path]) -> set[tuple[str, str]]:
    """Pairs of rooms where the first imports the second."""
    pairs = set()
    for name, path in known.items():
        for target in imports(path, known):
            a, b = room(name, known), room(target, known)
            if a != b:
                pairs.add((a, b))
    return pairs


def circles(pairs: set[tuple[str, str]]) -> list[list[str]]:
    """Sets of rooms that reach one another, beyond single ones."""
    reach: dict[str, set[str]] = {}
    for a, b in pairs:
        reach.setdefault(a, set()).add(b)
    for middle in list(reach):
        for start in reach:
            if middle in reach[start]:
                reach[start] |= reach[middle]
    groups = {
        frozenset(b for b in reach[a] if a in reach.get(b, ())) for a in reach if a in reach[a]
    }
    return sorted(sorted(group) for group in groups)


def bodies(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of code in the body of every function, without its docstring, and its name."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            if body:
                code = lines[body[0].lineno - 1 : node.end_lineno]
                yield sum(bool(line.strip()) for line in code), f"{path.stem}.{node.name}"


def measure(root: Path, package: str) -> Measures:
    """All measures of one package of a checkout."""
    known = modules(root, package)
    pairs = arrows(known)
    sizes = [size for path in known.values() for size in bodies(path)]
    texts = [path.read_text(encoding="utf-8") for path in known.values()]
    plain = [p for p in (root / package).glob("*.py") if p.name != "__init__.py"]
    return Measures(
        package,
        len(plain),
        len(known),
        len(pairs),
        sorted((a, b) for a, b in pairs if a < b and (b, a) in pairs),
        circles(pairs),
        [length for length, _ in sizes],
        "{1} ({0})".format(*max(sizes)),
        sum(len(re.findall(r"\bisinstance\(", text)) for text in texts),
        max(len(text.splitlines()) for text in texts),
    )


def touched(root: Path, word: str) -> list[str]:
    """Files outside tests and documents that name a thing."""
    files = itertools.chain.from_iterable(
        (root / folder).rglob("*") for folder in (*PACKAGES, "conf")
    )
    pattern = re.compile(rf"(?<![\w.]){re.escape(word)}(?!\w)")
    return sorted(
        str(path.relative_to(root))
        for path in files
        if path.suffix in (".py", ".yaml")
        and (path.stem == word or pattern.search(path.read_text(encoding="utf-8")))
    )


def main(root: Path) -> None:
    """Print the measures of a checkout."""
    for package in PACKAGES:
        m = measure(root, package)
        print(f"{package}: {m.at_root} plain modules at the root, {m.modules} in all")
        print(
            f"  folders: {m.arrows} arrows; mutual pairs {m.mutual or 0}; circles {m.circles or 0}"
        )
        print(f"  bodies: median {m.median:g}, 9 in 10 ≤ {m.ninth}, longest {m.longest} lines")
        print(f"  largest file {m.largest_file} lines; isinstance {m.by_type} times")
    for kind, word in PROBES.items():
        files = touched(root, word)
        print(f"{kind} {word!r} is named in {len(files)} files: {', '.join(files)}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve())
