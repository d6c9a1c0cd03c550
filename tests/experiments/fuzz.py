"""Random bad settings for every program: `python -m tests.experiments.fuzz 10000`.

A setting is a program's own configuration with one to three values replaced, removed or added. A program
must refuse it in sentences (InputError), or get as far as its first fit: anything else is a finding.
"""

from __future__ import annotations

import copy
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from experiments import studies
from experiments.common.program import composed
from experiments.engine.study import Study
from experiments.studies.diagnosis.run import diagnose
from experiments.studies.league.season import run_league
from experiments.studies.sweep.run import coverage_sweep
from spac_theory import InputError

SMALL_STUDIES = (
    "baseline",
    "lambda_choice",
    "misspecification",
    "optimisation",
    "rates",
    "violations",
)
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2.5, 1e4, 1e300, -1e300, 1e-300, 2**64, 2**70, -(2**70), 10**400,
    float("nan"), float("inf"), -float("inf"), "", "abc", "1", "a\nb", "[red]x[/red]", "$x$", "ü", "\0",
    "x" * 300, [], [1], [1, "a"], [None], [[]], [True], [0.5, 0.5], [2**64], ["png", "bmp"], "png", {},
    {"a": 1}, {"name": "linear"}, {"name": 3}, [{"name": "dpo"}], "/proc/x", 3, [0], [-3], [1e9], [2.0],
    "behaviour", [[0, 1]], {1: 2}, [float("nan")], 0.5, [0.2], 10**6, "none.py", ["none.py"],
)  # fmt: skip
NEW = ("foo", "seedz", "labels", "name", "", "a.b")


class Reached(BaseException):
    """The program has accepted its settings and begins to work."""


def _reach(*_: Any, **__: Any) -> Any:
    raise Reached


@dataclass(frozen=True)
class Program:
    """A program: its main function, and settings that it accepts."""

    name: str
    main: Callable[[Any, Path], object]
    base: dict[str, Any]


def programs(folder: Path) -> list[Program]:
    """All of them, with stores in `folder`."""
    log = folder / "log.csv"
    log.write_text("context,winner,loser\n0,1,0\n1,0,1\n")
    store = f"store={folder / 'store'}"
    found = [
        Program("coverage_sweep", coverage_sweep, composed("coverage_sweep", "grid=smoke", store)),
        Program("league", run_league, composed("league", "entries=[spac,dpo]", store)),
        Program("diagnose", diagnose, composed("diagnose", f"data={log}", "algorithm=[dpo]")),
    ]
    for name in SMALL_STUDIES:
        __import__(f"{studies.__name__}.{name}")
        study: Study[Any] = getattr(studies, name).STUDY
        found.append(Program(name, study, composed(name, store)))
    return found


def places(settings: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of nested settings."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            yield (*path, key)
            yield from places(value, (*path, key))
    elif isinstance(settings, list) and settings:
        yield (*path, int(len(settings) - 1))


def mutated(rng: np.random.Generator, base: dict[str, Any]) -> dict[str, Any]:
    """The settings with one to three changes."""
    settings: Any = copy.deepcopy(base)
    for _ in range(int(rng.integers(1, 4))):
        spots = list(places(settings))
        if not spots:
            return {}
        *above, last = spots[int(rng.integers(len(spots)))]
        branch = settings
        for key in above:
            branch = branch[key]
        kind = rng.uniform()
        if kind < 0.1 and isinstance(branch, dict):
            del branch[last]
        elif kind < 0.2 and isinstance(branch, dict):
            branch[NEW[int(rng.integers(len(NEW)))]] = VALUES[int(rng.integers(len(VALUES)))]
        else:
            branch[last] = copy.deepcopy(VALUES[int(rng.integers(len(VALUES)))])
    return settings  # type: ignore[no-any-return]


def attempt(program: Program, settings: Any, folder: Path) -> str:
    """What became of it: refused, reached, done, or the finding."""
    targets = (
        "experiments.engine.study.Study.rows",
        "experiments.engine.launcher.Local.run",
        "experiments.studies.league.season.season",
        "experiments.studies.diagnosis.run.learn",
    )
    patches = [mock.patch(target, _reach) for target in targets]
    with patches[0], patches[1], patches[2], patches[3], mock.patch("sys.stdout"):
        try:
            program.main(settings, folder / "out")
        except InputError as error:
            said = str(error)
            good = said and all(line.strip().endswith(".") for line in said.splitlines())
            return "refused" if good else f"no sentence: {said!r}"
        except Reached:
            return "reached"
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            return f"{type(error).__name__}: {error!s:.120} ({Path(where.filename).name}:{where.lineno})"
    return "done"


def fuzz(
    count: int, seed: int = 0, tell: bool = False
) -> tuple[Counter[str], list[tuple[str, Any, str]]]:
    """Outcomes of `count` random settings, and every finding with the settings that led to it."""
    rng, outcomes, findings = np.random.default_rng(seed), Counter[str](), []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        every = programs(folder)
        for i in range(count):
            program = every[i % len(every)]
            settings = mutated(rng, program.base)
            outcome = attempt(program, settings, folder)
            kept = outcome if outcome in ("refused", "reached", "done") else "finding"
            outcomes[kept] += 1
            if kept == "finding":
                findings.append((program.name, settings, outcome))
                if tell:
                    print(f"{i}: {program.name}: {outcome}", flush=True)
            if tell and (i + 1) % 500 == 0:
                print(f"{i + 1}: {dict(outcomes)}", flush=True)
    return outcomes, findings


def main(count: int, seed: int) -> int:
    """Print the outcomes; 0 without findings."""
    outcomes, findings = fuzz(count, seed, tell=True)
    print(dict(outcomes))
    for (name, outcome), times in Counter((n, o) for n, _, o in findings).most_common(60):
        print(f"{times} × {name}: {outcome}")
    return len(findings) > 0


if __name__ == "__main__":
    words = [int(word) for word in sys.argv[1:]]
    sys.exit(main(words[0] if words else 1000, words[1] if len(words) > 1 else 0))
