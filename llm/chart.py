"""`python -m llm.chart`: where SPAC beats DPO, moving-reference DPO and SPIN in true value.

Every (coverage, n, seed) is an ordinary run of the pipeline with one SPAC a λ, so the chart resumes
like a run. Finished cells are drawn; the rest are left blank.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

from llm.artifacts import read_json, write_atomically, write_json
from llm.run import execute, hydra_program

GRID: dict[str, list[Any]] = {
    "coverages": [0.02, 0.1, 0.3],
    "sizes": [1000, 3000],
    "lams": [1.0, 3.0, 10.0],
    "seeds": [0, 1, 2, 3, 4],
}
RIVALS = ("dpo", "moving-dpo", "spin")


def cell(
    values: dict[str, Any], root: Path, coverage: float, n: int, seed: int, lams: list[float]
) -> Path:
    """Run one cell (or find it done) and return its folder."""
    folder = root / f"coverage-{coverage:g}-n-{n}-seed-{seed}"
    if (folder / "results.json").exists():
        return folder
    language = {**values["data"]["language"], "coverage": coverage, "pairs": n}
    spac = values["methods"]["spac"]
    methods = {k: values["methods"][k] for k in RIVALS}
    methods |= {
        f"spac-{lam:g}": {**spac, "objective": {**spac["objective"], "lam": lam}} for lam in lams
    }
    quiet = {**values["train"], "report_to": []}
    execute(
        {
            **values,
            "run_dir": str(folder),
            "seed": seed,
            "data": {**values["data"], "language": language},
            "methods": methods,
            "train": quiet,
            "sft": {**values["sft"], "report_to": []},
        }
    )
    return folder


def collect(root: Path) -> list[dict[str, Any]]:
    """One row a finished (coverage, n, seed, method): final and best suboptimality."""
    rows = []
    for path in sorted(root.glob("*/results.json")):
        _, coverage, _, n, _, seed = path.parent.name.split("-")
        for method, numbers in read_json(path)["summary"].items():
            rows.append(
                {
                    "coverage": float(coverage),
                    "n": int(n),
                    "seed": int(seed),
                    "method": method,
                    "suboptimality": numbers["suboptimality"],
                    "best_round": numbers["best_suboptimality"],
                }
            )
    return rows


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """A panel a coverage and n: every seed a dot, the mean a bar, methods side by side."""
    from matplotlib.figure import Figure

    cells = sorted({(r["n"], r["coverage"]) for r in rows})
    methods = list(dict.fromkeys(r["method"] for r in rows))
    methods.sort(key=lambda m: ("sft", *RIVALS).index(m) if m in ("sft", *RIVALS) else 9)
    canvas = Figure(figsize=(3.2 * max(len(cells), 1), 3.4), layout="constrained")
    panels = canvas.subplots(1, len(cells), sharey=True, squeeze=False)[0]
    for axes, (n, coverage) in zip(panels, cells, strict=True):
        for i, method in enumerate(methods):
            here = [
                r["suboptimality"]
                for r in rows
                if (r["n"], r["coverage"], r["method"]) == (n, coverage, method)
            ]
            colour = "#D55E00" if method.startswith("spac") else "0.45"
            axes.plot([i] * len(here), here, "o", ms=4, mfc="none", color=colour)
            if here:
                axes.plot([i - 0.3, i + 0.3], [sum(here) / len(here)] * 2, color=colour, lw=2)
        axes.set_xticks(range(len(methods)), methods, rotation=60, ha="right")
        axes.set_title(f"coverage {coverage:g}, n = {n}", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("suboptimality of the last iterate")
    panels[0].set_ylim(bottom=0)
    write_atomically(path, lambda p: canvas.savefig(p, format="png", dpi=150))


def program(values: dict[str, Any]) -> None:
    """Run the grid (each axis can be overridden: `+seeds=[0,1]`) and draw what is finished."""
    grid = {name: values.pop(name, default) for name, default in GRID.items()}
    root = Path(values["run_dir"])
    for seed, n, coverage in itertools.product(grid["seeds"], grid["sizes"], grid["coverages"]):
        cell(values, root, coverage, n, seed, grid["lams"])
        rows = collect(root)
        write_json(root / "chart.json", rows)
        draw(rows, root / "chart.png")


def main() -> None:
    """Hydra entry point."""
    sys.exit(hydra_program(program))


if __name__ == "__main__":
    main()
