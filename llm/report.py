"""The table and the figure at the end of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.common.files import write_atomically, write_json
from experiments.common.provenance import made
from llm.files import processes
from llm.settings import Settings
from llm.stages.answer import numbers

Results = dict[str, list[dict[str, Any]]]
COLUMNS = {
    "value": "value J",
    "suboptimality": "suboptimality",
    "best_suboptimality": "best round",
    "mixture_suboptimality": "mixture",
    "kl": "KL to SFT",
    "logp_chosen": "log π(y⁺)",
    "misled": "mass k = 3",
    "accuracy": "pair accuracy",
    "exploitability": "exploitability",
    "pairs": "pairs",
    "labels": "labels",
    "samples": "samples",
    "steps": "steps",
    "failures": "unread replies",
}
TERMS = {
    "mixture_suboptimality": "mixture loses",
    "t3_statistics": "= statistics",
    "t3_regret": "+ regret",
    "t3_projection": "+ projection",
    "t3_critic": "+ critic",
    "projection_kl": "KL to target",
    "critic_game": "pessimistic value",
    "critic_lam": "λ",
}


def summary(results: Results, iterate: str) -> dict[str, dict[str, Any]]:
    """One row a method: the chosen iterate's numbers, and the best round's suboptimality."""
    rows = {}
    for method, rounds in results.items():
        row = numbers("last" if method == "sft" else iterate, rounds)
        if "suboptimality" in rounds[-1]:
            row["best_suboptimality"] = min(r["suboptimality"] for r in rounds)
            row["mixture_suboptimality"] = rounds[-1]["mixture_suboptimality"]
        rows[method] = row
    return rows


def titles(settings: Settings) -> dict[str, str]:
    """How each line of the table is called."""
    return {"sft": "SFT"} | {name: m.title or name for name, m in settings.methods.items()}


def table(rows: dict[str, dict[str, Any]], iterate: str, names: dict[str, str]) -> Any:
    """The rows as a rich table; columns nobody fills are left out."""
    shown = {k: v for k, v in COLUMNS.items() if any(k in row for row in rows.values())}
    return _grid(f"Iterate: {iterate}, unless the column says otherwise", shown, rows, names)


def terms_table(results: Results, names: dict[str, str]) -> Any:
    """What the mixture of a method with critics loses, by term of (T3); None without such a method."""
    rows = {name: rounds[-1] for name, rounds in results.items() if "t3_critic" in rounds[-1]}
    return _grid("Terms of theory (T3), last round", TERMS, rows, names) if rows else None


def _grid(
    title: str, shown: dict[str, str], rows: dict[str, dict[str, Any]], names: dict[str, str]
) -> Any:
    from rich.table import Table

    grid = Table(title=title)
    grid.add_column("method")
    for column in shown.values():
        grid.add_column(column, justify="right")
    for method, row in rows.items():
        cells = [_cell(row.get(key)) for key in shown]
        grid.add_row(names[method], *cells)
    return grid


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def figure(results: Results, path: Path, title: str, names: dict[str, str]) -> None:
    """Suboptimality by iteration: last iterate (lines) and mixture (dotted)."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    styles = [
        ("o", "#000000"),
        ("s", "#E69F00"),
        ("^", "#56B4E9"),
        ("D", "#009E73"),
        ("v", "#CC79A7"),
        ("P", "#D55E00"),
    ]
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        canvas = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = canvas.add_subplot()
        start = results["sft"][-1]["suboptimality"]
        axes.axhline(start, color="0.6", lw=1)
        axes.annotate("SFT", (0, start), xytext=(2, 3), textcoords="offset points", color="0.4")
        methods = [name for name in results if name != "sft"]
        for (marker, colour), name in zip(styles[1:] * 9, methods, strict=False):
            last = [start] + [r["suboptimality"] for r in results[name]]
            mixed = [r["mixture_suboptimality"] for r in results[name]]
            axes.plot(range(len(last)), last, marker=marker, color=colour, label=names[name])
            axes.plot(range(1, len(last)), mixed, ":", color=colour, lw=1.2)
        axes.set(
            xlabel="iteration", ylabel="suboptimality  J(π*) − J(π)", title=title, ylim=(0, None)
        )
        axes.set_xticks(range(len(next(iter(results.values()))) and len(last)))
        axes.legend(frameon=False, fontsize=9, title="last iterate (dotted: mixture)")
        write_atomically(path, lambda p: canvas.savefig(p, format="png", dpi=150))


def write_report(settings: Settings, results: Results) -> None:
    """Print the table; write `results.json` and, on a language, `suboptimality.png`, else a page."""
    if not processes.is_main():
        return
    from rich.console import Console

    from llm.reporting import speed
    from llm.reporting.page import rich_grid
    from llm.reporting.write import write

    folder = Path(settings.run_dir)
    rows = summary(results, settings.iterate)
    facts = made("torch", "transformers")
    write_json(folder / "results.json", {"summary": rows, "rounds": results, "made": facts})
    if settings.data.language is None:
        write(settings, results, titles(settings))
    else:
        console = Console(width=120)
        names = titles(settings)
        speeds = speed.grid(speed.speeds(folder, results), names)
        for shown in (
            table(rows, settings.iterate, names),
            terms_table(results, names),
            rich_grid(speeds) if speeds else None,
        ):
            if shown is not None:
                console.print(shown)
        language = settings.data.language
        title = f"Language “{language.name}”, coverage {language.coverage:g}, n = {language.pairs}"
        figure(results, folder / "suboptimality.png", title, titles(settings))
        print(f"Figure: {folder / 'suboptimality.png'}")
    print(f"Manifest: {folder / 'manifest.json'}")
