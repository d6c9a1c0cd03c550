"""Random malformed inputs to every public reader and constructor: `python -m tests.experiments.fuzz_inputs`.

An input is a good one with one or two of its parts replaced, or a file with some of its bytes changed. A
reader must take it, or refuse it in a sentence (InputError; NotANumber for a bound): anything else is a
finding.
"""

from __future__ import annotations

import sys
import tempfile
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl

from spac_theory import (
    InputError,
)
from spac_theory.checks import NotANumber

from .fuzz_arguments import CONSTRUCTORS, Attempt, Rng
from .fuzz_files import READERS

ATTEMPTS: dict[str, Attempt] = {**CONSTRUCTORS, **READERS}


def outcome(attempt: Attempt, rng: Rng, folder: Path) -> str:
    """Taken, refused, or the finding."""
    try:
        attempt(rng, folder)
    except (InputError, NotANumber) as error:
        return (
            "refused" if str(error).strip().endswith(".") else f"no sentence: {str(error)[:90]!r}"
        )
    except (Exception, pl.exceptions.PanicException) as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        ours = [
            f
            for f in traceback.extract_tb(error.__traceback__)
            if "site-packages" not in f.filename
        ]
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else where.filename
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''!s:.90} ({place})"
    return "taken"


def fuzz(count: int, seed: int = 0) -> dict[str, Counter[str]]:
    """Outcomes of `count` inputs, spread evenly over the readers."""
    found = {name: Counter[str]() for name in ATTEMPTS}
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in range(count):
            name = list(ATTEMPTS)[i % len(ATTEMPTS)]
            found[name][outcome(ATTEMPTS[name], rng, Path(place))] += 1
    return found


def findings(found: dict[str, Counter[str]]) -> list[str]:
    """What was neither taken nor refused in a sentence."""
    return [
        f"{times} × {name}: {what}"
        for name, counts in found.items()
        for what, times in counts.most_common()
        if what not in ("taken", "refused")
    ]


def main(count: int, seed: int) -> int:
    """Print the counts of every reader, then the findings; 0 without any."""
    found = fuzz(count, seed)
    for name, counts in found.items():
        rest = sum(counts.values()) - counts["taken"] - counts["refused"]
        print(
            f"{name:26} taken {counts['taken']:5} refused {counts['refused']:5} findings {rest:4}"
        )
    told = findings(found)
    print(*told, sep="\n")
    return bool(told)


if __name__ == "__main__":
    words = [int(word) for word in sys.argv[1:]]
    sys.exit(main(words[0] if words else 1000, words[1] if len(words) > 1 else 0))
