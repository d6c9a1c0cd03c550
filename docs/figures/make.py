"""Make the pictures of the documentation: each by its own command, with what it says of itself inside.

    make figures                      # all of them; what is stored is not computed again
    make figures ARGS="rates league"  # some

`figures.toml` names, for each picture, the program and the file that it leaves. A picture carries its
command, its data and the version of its numbers in its metadata.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def pictures() -> dict[str, dict[str, Any]]:
    """Name to `{command, file, minutes}`."""
    return tomllib.loads((HERE / "figures.toml").read_text(encoding="utf-8"))


def make(names: list[str]) -> None:
    """Run the commands of `names`, each once, and copy what they left."""
    known = pictures()
    for name in names:
        if name not in known:
            sys.exit(f"{name!r} is no picture of the documentation; there are: {', '.join(known)}.")
    for command in dict.fromkeys(known[name]["command"] for name in names):
        print(f"python -m {command}  (about {minutes(command)} min)", flush=True)
        subprocess.run([sys.executable, "-m", *shlex.split(command)], cwd=ROOT, check=True)
        for name in names:
            if known[name]["command"] == command:
                shutil.copyfile(ROOT / known[name]["file"], HERE / f"{name}.png")


def minutes(command: str) -> float:
    """How long a command takes on two cores when nothing is stored."""
    return max(p["minutes"] for p in pictures().values() if p["command"] == command)


if __name__ == "__main__":
    make(sys.argv[1:] or list(pictures()))
