"""The chart's table and figure."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from experiments.common.files import write_atomically, write_json

Rows = list[dict[str, Any]]
Chosen = dict[str, dict[str, str]]
TITLES = {
    "sft": "SFT",
    "dpo": "DPO",
    "moving-dpo": "DPO, moving ref.",
    "spin": "SPIN",
    "spac": "SPAC",
    "bandit": "exact SPAC, told k",
}
OTHERS = {
    "best_suboptimality": "best round",
    "mixture_suboptimality": "mixture",
    "kl": "KL",
    "misled": "mass k = 3",
}


def write(root: Path, tuning: Rows, rows: Rows, chosen: Chosen) -> None:
    """Store the rows, the tables and the figure of what is finished."""
    write_json(root / "chart.json", {"tuning": tuning, "rows": rows, "chosen": chosen})
    tables = [
        tuning_table(tuning, chosen),
        overview_table(rows, chosen),
        report_table(rows, chosen),
    ]
    text = "\n\n".join(tables) + "\n"
    write_atomically(root / "chart.md", lambda p: _write_text(p, text))
    if rows:
        write_atomically(root / "chart.png", lambda p: draw(rows, chosen, p))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def cells(rows: Rows) -> list[tuple[str, float, int]]:
    """The cells (language, coverage, n) that occur, in order: `misleads` first."""
    found = {(r["language"], r["coverage"], r["n"]) for r in rows}
    return sorted(found, key=lambda c: (c[0] != "misleads", c[1:]))


def pick(rows: Rows, cell: tuple[str, float, int], method: str, key: str) -> list[float]:
    """The values of one column over the seeds."""
    return [
        r[key]
        for r in rows
        if (r["language"], r["coverage"], r["n"], r["method"]) == (*cell, method) and key in r
    ]


def title(name: str) -> str:
    """A readable name: `spac lam=3` as `SPAC, λ = 3`."""
    method, _, change = name.partition(" ")
    for field, symbol in (("beta", "β"), ("lam", "λ")):
        change = change.replace(f"{field}=", f"{symbol} = ")
    return ", ".join(filter(None, [TITLES.get(method, method), change]))


def grid_table(header: list[str], body: list[list[str]]) -> str:
    """Markdown."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def tuning_table(rows: Rows, chosen: Chosen) -> str:
    """Suboptimality of every setting in every tuning cell; the chosen ones in bold."""
    places = cells(rows)
    body = []
    for name in dict.fromkeys(r["method"] for r in rows):
        line = [title(name)]
        for cell in places:
            values = pick(rows, cell, name, "suboptimality")
            number = f"{values[0]:.3f}" if values else ""
            taken = name in chosen[cell[0]].values()
            line.append(f"**{number}**" if taken else number)
        body.append(line)
    return grid_table(["tuning seed", *map(_place, places)], body)


def _place(cell: tuple[str, float, int]) -> str:
    return f"{cell[0]}, coverage {cell[1]:g}, n = {cell[2]}"


def order(rows: Rows) -> list[str]:
    """Methods as the table and the figure show them."""
    names = dict.fromkeys(r["method"] for r in rows)
    rank = list(TITLES)
    return sorted(
        names, key=lambda n: (rank.index(n.split(" ")[0]), float(n.partition("=")[2] or 0))
    )


def overview_table(rows: Rows, chosen: Chosen) -> str:
    """A line a cell: mean ± standard error of each method at its chosen setting, SPAC also less it.

    In brackets: the paired difference SPAC − method, and in how many seeds SPAC is lower.
    """
    body = []
    for cell in cells(rows):
        picked = chosen[cell[0]]
        line = [_place(cell)]
        for name in ("sft", *(picked[m] for m in TITLES if m in picked), "bandit"):
            values = pick(rows, cell, name, "suboptimality")
            rival = name.split(" ")[0] in picked and name != picked["spac"]
            text = f"{title(name).split(', ')[-1]}: " if name in picked.values() else ""
            text += _mean(values)
            line.append(text + (f" [{_versus(rows, cell, picked['spac'], name)}]" if rival else ""))
        body.append(line)
    named = [
        TITLES[m] for m in TITLES if m in ("sft", "bandit") or m in next(iter(chosen.values()))
    ]
    return grid_table(["cell", *named], body)


def report_table(rows: Rows, chosen: Chosen) -> str:
    """A line a cell and setting: mean and standard error, wins of SPAC over it by seed, the rest."""
    body = []
    for cell in cells(rows):
        spac = chosen[cell[0]]["spac"]
        for name in order([r for r in rows if (r["language"], r["coverage"], r["n"]) == cell]):
            values = pick(rows, cell, name, "suboptimality")
            others = [_plain(pick(rows, cell, name, key)) for key in OTHERS]
            text = title(name) + (" (chosen)" if name == spac else "")
            body.append(
                [_place(cell), text, _mean(values), _versus(rows, cell, spac, name), *others]
            )
    header = ["cell", "method", "suboptimality", "SPAC − it", *OTHERS.values()]
    return grid_table(header, body)


def _plain(values: list[float]) -> str:
    return f"{statistics.fmean(values):.3f}" if values else ""


def _mean(values: list[float]) -> str:
    spread = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{statistics.fmean(values):.3f} ± {spread:.3f}"


def _versus(rows: Rows, cell: tuple[str, float, int], spac: str, name: str) -> str:
    """The paired difference: mean ± standard error, and in how many seeds SPAC is lower."""
    if name == spac:
        return ""
    pairs = zip(
        pick(rows, cell, spac, "suboptimality"),
        pick(rows, cell, name, "suboptimality"),
        strict=True,
    )
    gaps = [a - b for a, b in pairs]
    return f"{_mean(gaps)} ({sum(g < 0 for g in gaps)}/{len(gaps)})"


def draw(rows: Rows, chosen: Chosen, path: Path) -> None:
    """A panel a cell: every seed a mark, the mean a bar, a line a setting."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    places = cells(rows)
    columns = min(len(places), 4)
    lines = -(-len(places) // columns)
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        canvas = Figure(figsize=(2.3 * columns + 2.0, 2.2 * lines + 0.5), layout="constrained")
        panels = canvas.subplots(lines, columns, sharex=True, squeeze=False).flatten()
        left: list[str] = []
        for number, (axes, cell) in enumerate(zip(panels, places, strict=False)):
            labels = _panel(axes, rows, cell, chosen[cell[0]]["spac"])
            if number % columns and labels == left:
                axes.set_yticklabels([])
            left = labels
        for axes in panels[len(places) :]:
            axes.set_axis_off()
        for axes in panels[max(0, len(places) - columns) : len(places)]:
            axes.tick_params(labelbottom=True)
        panels[0].set_xlim(left=0)
        seeds = len({r["seed"] for r in rows})
        canvas.supxlabel("suboptimality of the last iterate", fontsize=9)
        canvas.suptitle(
            f"{seeds} seeds, none used in tuning. Bar: mean. Squares: SPAC, filled at the λ "
            "chosen in tuning. Dashed: exact SPAC in the bandit, told k.",
            fontsize=9,
        )
        canvas.savefig(path, format="png", dpi=150)


def _panel(axes: Any, rows: Rows, cell: tuple[str, float, int], spac: str) -> list[str]:
    """Draw one cell; the names of its lines, from the bottom."""
    here = [r for r in rows if (r["language"], r["coverage"], r["n"]) == cell]
    names = [name for name in reversed(order(here)) if name != "bandit"]
    exact = statistics.fmean(pick(here, cell, "bandit", "suboptimality"))
    axes.axvline(exact, color="0.6", ls="--", lw=1)
    for i, name in enumerate(names):
        values = pick(here, cell, name, "suboptimality")
        ours = name.startswith("spac")
        colour = "#D55E00" if ours else "0.35"
        face = colour if name == spac else "none"
        mark = "s" if ours else "o"
        axes.plot(values, [i] * len(values), mark, ms=4, mfc=face, color=colour)
        axes.plot([statistics.fmean(values)] * 2, [i - 0.35, i + 0.35], color=colour, lw=2)
    labels = [title(name) for name in names]
    axes.set_yticks(range(len(names)), labels)
    axes.set_title(f"{cell[0]}, coverage {cell[1]:g}, n = {cell[2]}", fontsize=8)
    return labels
