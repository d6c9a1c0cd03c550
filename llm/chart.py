"""`python -m llm.chart`: where SPAC beats DPO, moving-reference DPO and SPIN, and where it does not.

Every method is tried at the same number of settings on one tuning seed; the best of them is then run on
other seeds, which alone are reported. Every cell (language, coverage, n, seed) is an ordinary run of
the pipeline, so the chart resumes like one; the fine-tuned start is shared by all cells of one coverage
and seed. The grid is `conf/llm/chart.yaml`.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.common.files import read_json, write_json
from llm.run import hydra_program, quiet
from llm.worlds.bandit import exact_spac
from llm.worlds.language import Language

Rows = list[dict[str, Any]]
KEPT = ("suboptimality", "best_suboptimality", "mixture_suboptimality", "kl", "misled")


@dataclass(frozen=True, order=True)
class Cell:
    """One problem: a language, its coverage, and the number of pairs."""

    language: str
    coverage: float
    n: int

    def folder(self, root: Path, seed: int) -> Path:
        """Where the run of this cell at `seed` lives."""
        return root / f"{self.language}-coverage-{self.coverage:g}-n-{self.n}-seed-{seed}"


def names(grid: dict[str, Any], method: str) -> list[str]:
    """The names of all settings of a method, such as `spac lam=3`."""
    ((field, values),) = grid["settings"][method].items()
    return [f"{method} {field}={value:g}" for value in values]


def setting(values: dict[str, Any], name: str) -> dict[str, Any]:
    """The configuration of the method that `name` stands for."""
    method, change = name.split(" ")
    field, value = change.split("=")
    base = values["methods"][method]
    changes = {field: float(value)} | ({"beta_c": float(value)} if field == "beta" else {})
    return {**base, "objective": {**base["objective"], **changes}}


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
        build(Settings, {**values, "run_dir": str(folder), "seed": seed, "data": data})
    )
    pipeline.prepare()
    return pipeline.initial().path


def run_cell(
    values: dict[str, Any], root: Path, cell: Cell, seed: int, methods: list[str]
) -> dict[str, Any]:
    """Run the named settings on one cell and seed (or find them done); all rounds of each."""
    from llm.pipeline import Pipeline
    from llm.settings import Settings, build

    folder = cell.folder(root, seed)
    if (folder / "results.json").exists():
        return dict(read_json(folder / "results.json"))
    model = {**values["model"], "name": start(values, root, cell.coverage, seed)}
    own = {
        "run_dir": str(folder),
        "seed": seed,
        "data": _language(values, cell),
        "model": model,
        "sft": None,
        "methods": {name: setting(values, name) for name in methods},
    }
    print(f"== {folder.name}", flush=True)
    results = Pipeline(build(Settings, {**values, **own}), note=lambda text: None)()
    write_json(folder / "results.json", results)
    return results


def collect(root: Path, scale: float, cells: list[Cell], seeds: list[int]) -> Rows:
    """One row a finished (cell, seed, setting): the last iterate's numbers and the best round's.

    A row `bandit` a cell and seed holds exact SPAC on the same pairs, :mod:`llm.worlds.bandit`.
    """
    rows = []
    for cell in cells:
        language = Language(cell.language, cell.coverage, scale)
        for seed in seeds:
            path = cell.folder(root, seed) / "results.json"
            if not path.exists():
                continue
            key = {**vars(cell), "seed": seed}
            for method, rounds in read_json(path).items():
                best = min(r["suboptimality"] for r in rounds)
                numbers = {**rounds[-1], "best_suboptimality": best}
                rows.append({**key, "method": method} | {name: numbers[name] for name in KEPT})
            exact = exact_spac(language, language.sample_pairs(cell.n, seed))
            rows.append({**key, "method": "bandit", "suboptimality": exact})
    return rows


def choose(rows: Rows, grid: dict[str, Any], language: str) -> dict[str, str]:
    """The setting a method with the least mean suboptimality over the tuning cells of a language."""

    def mean(name: str) -> float:
        return statistics.fmean(
            r["suboptimality"] for r in rows if (r["language"], r["method"]) == (language, name)
        )

    return {method: min(names(grid, method), key=mean) for method in grid["settings"]}


def tune(values: dict[str, Any], grid: dict[str, Any], root: Path, cells: list[Cell]) -> Rows:
    """All settings on the tuning seed, in the tuning cells."""
    tuning = [cell for cell in cells if cell.coverage == grid["tuning_coverage"]]
    everything = [name for method in grid["settings"] for name in names(grid, method)]
    for cell in tuning:
        run_cell(values, root, cell, grid["tuning_seed"], everything)
    scale = values["data"]["language"]["scale"]
    return collect(root, scale, tuning, [grid["tuning_seed"]])


def reported(grid: dict[str, Any], chosen: dict[str, str]) -> list[str]:
    """The settings that run on the reported seeds: the chosen ones, and all of some methods."""
    full = [name for method in grid["in_full"] for name in names(grid, method)]
    return list(dict.fromkeys([*chosen.values(), *full]))


def program(values: dict[str, Any]) -> None:
    """Tune, run the grid, and draw what is finished after every cell."""
    from llm.comparison.report import write

    quiet()
    grid = values.pop("chart")
    root = Path(values["run_dir"])
    cells = [Cell(str(name), float(coverage), int(n)) for name, coverage, n in grid["cells"]]
    scale = values["data"]["language"]["scale"]
    tuning = tune(values, grid, root, cells)
    chosen = {name: choose(tuning, grid, name) for name in {c.language for c in cells}}
    for seed in grid["seeds"]:
        for cell in cells:
            run_cell(values, root, cell, seed, reported(grid, chosen[cell.language]))
            write(root, tuning, collect(root, scale, cells, grid["seeds"]), chosen)
    print((root / "chart.md").read_text(encoding="utf-8"))


def main() -> None:
    """Hydra entry point."""
    sys.exit(hydra_program(program, "chart"))


if __name__ == "__main__":
    main()
