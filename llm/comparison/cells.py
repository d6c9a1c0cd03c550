"""The runs behind a chart: one directory a cell and seed, one method at a time, each done once."""

from __future__ import annotations

import gc
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.common.files import read_json, write_json
from llm.comparison.setting import BANDIT, SFT, Cell, Result, Setting
from llm.worlds.bandit import exact_spac
from llm.worlds.language import REWARDS, Language

Rounds = list[dict[str, Any]]


def _language(values: dict[str, Any], cell: Cell) -> dict[str, Any]:
    own = {"name": cell.language, "coverage": cell.coverage, "pairs": cell.n}
    return {**values["data"], "language": {**values["data"]["language"], **own}}


def start(values: dict[str, Any], root: Path, coverage: float, seed: int) -> str:
    """The fine-tuned start of all cells of one coverage and seed (demonstrations depend on no more)."""
    from llm.pipeline import Pipeline
    from llm.settings import Settings, build

    folder = root / "starts" / f"coverage-{coverage:g}-seed-{seed}"
    data = _language(values, Cell("misleads", coverage, 1000))
    pipeline = Pipeline(
        build(Settings, {**values, "run_dir": str(folder), "seed": seed, "data": data}),
        note=lambda text: None,
    )
    pipeline.prepare()
    return pipeline.initial().path


def stored(folder: Path) -> dict[str, Rounds]:
    """The rounds of every finished setting of a cell, by label."""
    path = folder / "results.json"
    found: dict[str, Rounds] = read_json(path) if path.exists() else {}
    return found


@dataclass
class Clock:
    """Processor time a method has taken, and from it how long the rest will take."""

    left: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def tick(self, method: str, seconds: float) -> str:
        """Note a run; a sentence about it and those to come."""
        self.seconds[method].append(seconds)
        self.left[method] = self.left.get(method, 1) - 1
        known = [s for runs in self.seconds.values() for s in runs]
        mean = {name: sum(runs) / len(runs) for name, runs in self.seconds.items()}
        usual = sum(known) / len(known)
        rest = sum(count * mean.get(name, usual) for name, count in self.left.items())
        runs = sum(self.left.values())
        return (
            f"{seconds:.0f} s of one processor; the {runs} runs left take about {rest / 60:.0f} min"
        )


def run_cell(
    values: dict[str, Any],
    root: Path,
    cell: Cell,
    seed: int,
    tried: Sequence[Setting],
    clock: Clock | None = None,
) -> dict[Setting, Rounds]:
    """Run these settings on one cell and seed, or find them done; all rounds of each, and the start's."""
    from llm.pipeline import Pipeline
    from llm.settings import Settings, build

    folder, clock = cell.folder(root, seed), clock or Clock()
    for setting in tried:
        if setting.label in stored(folder):
            continue
        model = {**values["model"], "name": start(values, root, cell.coverage, seed)}
        own = {
            "run_dir": str(folder),
            "seed": seed,
            "data": _language(values, cell),
            "model": model,
            "sft": None,
            "methods": {setting.label: setting.options(values["methods"])},
        }
        print(f"== {folder.name}: {setting.label}", flush=True)
        gc.freeze()  # what is imported by now stays; every training asks for a full collection
        before = time.process_time()
        found = Pipeline(build(Settings, {**values, **own}), note=lambda text: None)()
        if BANDIT.label not in stored(folder) and cell.language in REWARDS:
            found[BANDIT.label] = [{"suboptimality": _told_k(values, cell, seed)}]
        write_json(folder / "results.json", {**stored(folder), **found})
        print(clock.tick(setting.method, time.process_time() - before), flush=True)
    rounds = stored(folder)
    return {s: rounds[s.label] for s in (SFT, *tried)}


def _told_k(values: dict[str, Any], cell: Cell, seed: int) -> float:
    """Exact SPAC on the same pairs, :mod:`llm.worlds.bandit`."""
    language = Language(cell.language, cell.coverage, values["data"]["language"]["scale"])
    return exact_spac(language, language.sample_pairs(cell.n, seed))


def collect(
    root: Path, cells: Iterable[Cell], seeds: Iterable[int], tried: Iterable[Setting]
) -> list[Result]:
    """One result a finished (cell, seed, setting), with the start's and exact SPAC's."""
    wanted, found = [SFT, *dict.fromkeys(tried), BANDIT], list[Result]()
    seeds = list(seeds)
    for cell in cells:
        for seed in seeds:
            rounds = stored(cell.folder(root, seed))
            found += [
                Result.of(cell, seed, s, rounds[s.label]) for s in wanted if s.label in rounds
            ]
    return found
