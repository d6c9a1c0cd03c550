"""Write `conf/{algorithm,problem,behaviour}/NAME.yaml` of every registered thing from its dataclass.

    python -m experiments.engine.options

An option's default and what it is for stand once, in the dataclass; these files show them to people
and to Hydra. The first line of a file is kept, and so are a behaviour's dials (both ends of
their range in a new file). Files of named variants
(`spac_fixed`) are written by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from experiments.common.files import write_text
from spac_theory import ALGORITHMS, BEHAVIOURS, PROBLEMS
from spac_theory.options import described
from spac_theory.registry import Registry

FOLDER = Path(__file__).resolve().parents[2] / "conf"


def options_of(kind: str, name: str, factory: type[Any]) -> list[str]:
    """The lines of a registered thing: its name, and each option under what it is for."""
    lines = [f"# the registered {kind}", f"name: {name}"]
    for option in described(factory):
        lines += [f"# {option.help}", f"{option.name}: {_value(option.default)}"]
    return lines


def _value(value: Any) -> str:
    """A value on one line of YAML."""
    plain = list(value) if isinstance(value, tuple) else value
    return str(yaml.safe_dump(plain, default_flow_style=True)).splitlines()[0]


def _algorithm(name: str, current: str) -> list[str]:
    """An algorithm, under its label."""
    return [f"{name}:", *(f"  {x}" for x in options_of("algorithm", name, ALGORITHMS[name]))]


def _problem(name: str, current: str) -> list[str]:
    return options_of("problem", name, PROBLEMS[name])


def _behaviour(name: str, current: str) -> list[str]:
    """A family, and the dials that its file has."""
    family = BEHAVIOURS[name]
    low, high = family.dial_range
    dials = [float(dial) for dial in (yaml.safe_load(current) or {}).get("dials", [low, high])]
    positions = f"# positions of its dial, the {family.dial_name}, from {low:g} to {high:g}"
    return [*options_of("family", name, family), positions, f"dials: {_value(dials)}"]


KINDS: dict[str, tuple[Registry[Any], Callable[[str, str], list[str]]]] = {
    "algorithm": (ALGORITHMS, _algorithm),
    "problem": (PROBLEMS, _problem),
    "behaviour": (BEHAVIOURS, _behaviour),
}


def files() -> dict[Path, str]:
    """What each file of a registered thing should hold."""
    found = {}
    for kind, (registry, lines) in KINDS.items():
        known = set(registry)
        for path in sorted((FOLDER / kind).glob("*.yaml")):
            if path.stem in known:
                current = path.read_text(encoding="utf-8")
                kept = current.splitlines()[0]
                found[path] = "\n".join([kept, *lines(path.stem, current), ""])
    return found


if __name__ == "__main__":
    for path, content in files().items():
        write_text(path, content)
