"""Time and memory of the diagnosis of preference rows: `python -m benchmarks.own_rows 1000 10000 60000`.

Rows are made up (`experiments/claims/own_rows.py`: two to four answers a prompt and a candidate, 64 axes).
Each size is diagnosed by `python -m experiments.diagnose` in a process of its own, with the settings that
follow `--`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from experiments.claims.own_rows import make_rows
from experiments.common.table import Table, make_console

SHARED = 56  # features that all topics have; eight styles come on top


@dataclass(frozen=True)
class Measured:
    """Answers in the file, processor seconds and peak memory in bytes of one diagnosis."""

    answers: int
    seconds: float
    memory: int


def measure(prompts: int, words: list[str]) -> Measured:
    """Diagnose a made-up file of so many prompts; raises RuntimeError if the program fails."""
    with tempfile.TemporaryDirectory() as folder:
        made = make_rows(Path(folder), prompts, SHARED, seed=0)
        command = [sys.executable, "-m", "experiments.diagnose", f"data={made.rows}"]
        command += [f"features={made.features}", "rows.dimension=64", f"hydra.run.dir={folder}/out"]
        child = subprocess.Popen([*command, *words], stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(child.pid, 0)
    if status:
        raise RuntimeError(f"the diagnosis of {prompts} prompts ended with status {status}")
    return Measured(len(made.reward), used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


def main() -> None:
    """One row a size."""
    words = sys.argv[1:]
    split = words.index("--") if "--" in words else len(words)
    rows = []
    for prompts in [int(word) for word in words[:split]] or [1000, 10_000, 60_000]:
        found = measure(prompts, words[split + 1 :])
        rows.append(
            [
                f"{prompts:,}",
                f"{found.answers:,}",
                f"{found.seconds:.0f} s",
                f"{found.memory / 1e9:.1f} GB",
            ]
        )
        header = ["prompts", "answers", "processor time", "peak memory"]
        Table("", header, rows, left=0).show(make_console())


if __name__ == "__main__":
    main()
