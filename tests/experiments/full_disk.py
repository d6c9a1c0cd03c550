"""A sweep onto a disk that fills up, then gets room: run with a DIR in a mount namespace of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from experiments.common.program import guarded
from experiments.studies.sweep.run import coverage_sweep

from .tools import files, settings

SIZES = [50 + 10 * i for i in range(8)]
WORDS = (f"grid.n={SIZES}".replace(" ", ""), "figure.formats=[]")


def main(place: Path) -> None:
    """Print, as JSON, exit codes and blocks: those that fitted, and those of the run that went on."""
    store = place / "store"
    store.mkdir()
    mount = ["mount", "-t", "tmpfs", "none", str(store), "-o"]
    subprocess.run([*mount, "size=96k"], check=True)
    wanted, codes, kept = settings(place, *WORDS), [], []
    for _ in range(2):
        codes.append(guarded(lambda: coverage_sweep(wanted, place / "out")))
        kept.append(files(store))
        subprocess.run([*mount, "remount,size=64m"], check=True)
    half = [str(path) for path in store.rglob("*.tmp")]
    print(json.dumps({"codes": codes, "kept": kept, "half": half}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
