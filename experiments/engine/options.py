"""Write `conf/algorithm/NAME.yaml` of every registered algorithm from its dataclass.

    python -m experiments.engine.options

An option's default and what it is for stand once, in the dataclass; these files show them to people
and to Hydra. The first line of a file is kept. Files of named variants (`spac_fixed`) are written by hand.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from experiments.common.files import write_text
from spac_theory import ALGORITHMS
from spac_theory.options import described

FOLDER = Path(__file__).resolve().parents[2] / "conf" / "algorithm"


def text(name: str, first: str) -> str:
    """The file of algorithm `name` under its first line, a comment."""
    lines = [first, f"{name}:", "  # the registered algorithm", f"  name: {name}"]
    for option in described(ALGORITHMS[name]):
        value = yaml.safe_dump(option.default).splitlines()[0]
        lines += [f"  # {option.help}", f"  {option.name}: {value}"]
    return "\n".join([*lines, ""])


def files() -> dict[Path, str]:
    """What each file of a registered algorithm should hold."""
    found = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        if path.stem in ALGORITHMS:
            found[path] = text(path.stem, path.read_text(encoding="utf-8").splitlines()[0])
    return found


if __name__ == "__main__":
    for path, content in files().items():
        write_text(path, content)
