"""`python -m llm.chart`: where SPAC beats DPO, moving-reference DPO and SPIN, and where it does not.

Every method is tried at the same number of settings on one tuning seed; the best of them is then run on
other seeds, which alone are reported. Every cell (language, coverage, n, seed) is an ordinary run of
the pipeline, so the chart resumes like one; the fine-tuned start is shared by all cells of one coverage
and seed. The grid is `conf/llm/chart.yaml`.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from experiments.common.files import read_json, write_json
from experiments.common.program import launch
from llm.comparison.grid import check
from llm.comparison.setting import BANDIT, SFT, Cell, Chosen, Result, Setting
from llm.recipes import settled
from llm.run import CONFIG, quiet
from llm.worlds.bandit import exact_spac
from llm.worlds.language import Language


def settings(grid: dict[str, Any], method: str) -> list[Setting]:
    """All settings of a method that the grid tries."""
    ((option, values),) = grid["settings"][method].items()
    return [Setting(method, option, float(value)) for value in values]


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
    values: dict[str, Any], root: Path, cell: Cell, seed: int, tried: list[Setting]
) -> dict[Setting, list[dict[str, Any]]]:
    """Run these settings on one cell and seed (or find them done); all rounds of each."""
    from llm.pipeline import Pipeline
    from llm.settings import Settings, build

    folder = cell.folder(root, seed)
    if not (folder / "results.json").exists():
        model = {**values["model"], "name": start(values, root, cell.coverage, seed)}
        own = {
            "run_dir": str(folder),
            "seed": seed,
            "data": _language(values, cell),
            "model": model,
            "sft": None,
            "methods": {s.label: s.options(values["methods"]) for s in tried},
        }
        print(f"== {folder.name}", flush=True)
        results = Pipeline(build(Settings, {**values, **own}), note=lambda text: None)()
        write_json(folder / "results.json", results)
    return read(cell.folder(root, seed), tried)


def read(folder: Path, tried: list[Setting]) -> dict[Setting, list[dict[str, Any]]]:
    """The rounds of those of these settings that a finished run has, the start's with them."""
    stored = read_json(folder / "results.json")
    return {s: stored[s.label] for s in (SFT, *tried) if s.label in stored}


def collect(
    root: Path, scale: float, cells: list[Cell], seeds: list[int], tried: list[Setting]
) -> list[Result]:
    """One result a finished (cell, seed, setting).

    That of `BANDIT` holds exact SPAC on the same pairs, :mod:`llm.worlds.bandit`.
    """
    found = []
    for cell in cells:
        language = Language(cell.language, cell.coverage, scale)
        for seed in seeds:
            if (cell.folder(root, seed) / "results.json").exists():
                for setting, rounds in read(cell.folder(root, seed), tried).items():
                    found.append(Result.of(cell, seed, setting, rounds))
                exact = exact_spac(language, language.sample_pairs(cell.n, seed))
                found.append(Result(cell, seed, BANDIT, exact))
    return found


def everything(grid: dict[str, Any]) -> list[Setting]:
    """Every setting of every method."""
    return [setting for method in grid["settings"] for setting in settings(grid, method)]


def choose(results: list[Result], grid: dict[str, Any], language: str) -> dict[str, Setting]:
    """The setting a method with the least mean suboptimality over the tuning cells of a language."""

    def mean(setting: Setting) -> float:
        return statistics.fmean(
            r.suboptimality for r in results if (r.cell.language, r.setting) == (language, setting)
        )

    return {method: min(settings(grid, method), key=mean) for method in grid["settings"]}


def tune(
    values: dict[str, Any], grid: dict[str, Any], root: Path, cells: list[Cell]
) -> list[Result]:
    """All settings on the tuning seed, in the tuning cells."""
    tuning = [cell for cell in cells if cell.coverage == grid["tuning_coverage"]]
    for cell in tuning:
        run_cell(values, root, cell, grid["tuning_seed"], everything(grid))
    scale = values["data"]["language"]["scale"]
    return collect(root, scale, tuning, [grid["tuning_seed"]], everything(grid))


def reported(grid: dict[str, Any], chosen: dict[str, Setting]) -> list[Setting]:
    """The settings that run on the reported seeds: the chosen ones, and all of some methods."""
    full = [setting for method in grid["in_full"] for setting in settings(grid, method)]
    return list(dict.fromkeys([*chosen.values(), *full]))


def titles(values: dict[str, Any]) -> dict[str, str]:
    """How each method is called in tables and figures."""
    return {name: options.get("title") or name for name, options in values["methods"].items()}


def execute(values: dict[str, Any], output: Path | None = None) -> None:
    """Tune, run the grid, and draw what is finished after every cell."""
    from llm.comparison.report import write

    quiet()
    values = settled(values)
    grid = values.pop("chart")
    check(grid, list(values["methods"]))
    root = Path(values["run_dir"])
    cells = [Cell(str(name), float(coverage), int(n)) for name, coverage, n in grid["cells"]]
    scale = values["data"]["language"]["scale"]
    tuning = tune(values, grid, root, cells)
    chosen: Chosen = {
        name: choose(tuning, grid, name) for name in sorted({c.language for c in cells})
    }
    for seed in grid["seeds"]:
        for cell in cells:
            run_cell(values, root, cell, seed, reported(grid, chosen[cell.language]))
            found = collect(root, scale, cells, grid["seeds"], everything(grid))
            write(root, tuning, found, chosen, titles(values))
    print((root / "chart.md").read_text(encoding="utf-8"))


def main() -> None:
    """The command line."""
    launch("llm.chart", "llm.chart:execute", folder=CONFIG, config="chart")


if __name__ == "__main__":
    main()
