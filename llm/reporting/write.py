"""The report of a run on held-out rows: gathered from its stages, written, and printed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.common.files import read_json, write_text
from llm.data.validate import told
from llm.reporting import exchanges, figures, page, speed, table
from llm.reporting.page import Picture, Report
from llm.settings import Settings
from llm.stages.answer import best_round, numbers
from llm.stages.measure import START

Results = Mapping[str, list[dict[str, Any]]]


def write(settings: Settings, results: Results, names: Mapping[str, str]) -> None:
    """Write `report.md`, `report.html` and the figures into the run directory; print the table."""
    from rich.console import Console

    run = Path(settings.run_dir)
    titles = {**names, "sft": "SFT" if settings.sft is not None else "start"}
    report = gather(settings, results, titles)
    write_text(run / "report.md", page.markdown(report))
    write_text(run / "report.html", page.page(report))
    Console(width=140).print(page.terminal(report))
    print(f"Page: {run / 'report.html'} (the same as {run / 'report.md'})")


def gather(settings: Settings, results: Results, names: Mapping[str, str]) -> Report:
    """Everything the run has to say; draws the figures."""
    run = Path(settings.run_dir)
    rows = {
        key: _chosen(settings.iterate if key != "sft" else "last", rounds)
        for key, rounds in results.items()
    }
    return Report(
        title=_title(settings),
        notes=notes(settings, run),
        grid=table.grid(rows, names),
        legend=table.legend(rows),
        pictures=pictures(run, results, names),
        exchanges=exchanges.exchanges(run, places(settings, results), names) if _held(run) else [],
        training=speed.grid(speed.speeds(run, results), names),
        training_legend=speed.legend(),
    )


def _chosen(iterate: str, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The numbers of the answer; a mixture is not measured on held-out rows, its last part is."""
    return numbers(iterate, rounds) or dict(rounds[-1])


def _held(run: Path) -> bool:
    return (run / "prepare" / "held_out.json").exists()


def _title(settings: Settings) -> str:
    data = settings.data
    rows = "sentiment" if data.sentiment is not None else Path(str(data.source)).name
    rounds = f"{settings.rounds} round{'s' if settings.rounds > 1 else ''}"
    return f"{Path(settings.model.name).name} on {rows}, {rounds}, seed {settings.seed}"


def places(settings: Settings, results: Results) -> dict[str, str]:
    """The stage in which the answers of each policy lie."""
    found = {}
    for name, rounds in results.items():
        best = settings.iterate == "best" and name != "sft"
        t = 1 + best_round(rounds) if best else len(rounds)
        found[name] = START if name == "sft" else f"{name}/round-{t:02d}/evaluate"
    return found


def notes(settings: Settings, run: Path) -> list[str]:
    """What a reader has to know beside the table."""
    found = []
    if _held(run):
        origin = read_json(run / "prepare" / "held_out.json")["origin"]
        found.append(f"Held-out rows: {origin}.")
    else:
        found.append("No rows are held out: set data.test_split or data.test_share.")
    counts = read_json(run / "prepare" / "report.json").get("counts", {})
    if counts:
        lost = f" ({told(counts)})" if told(counts) else ""
        found.append(f"Training rows: {counts['kept']} of {counts['read']}{lost}.")
    if settings.iterate == "mixture":
        found.append("The answer is the mixture of all rounds; the table shows its last part.")
    if settings.data.sentiment is not None:
        found.append(_world(settings, run))
    return found


def _world(settings: Settings, run: Path) -> str:
    data, made = settings.data.sentiment, read_json(run / "responses" / "stage.json")["outputs"]
    assert data is not None
    return (
        f"{data.pairs} pairs of the model's own answers, coverage {data.coverage:g}; labels by "
        f"Bradley–Terry at scale {data.scale:g} of the VADER score, which agree with it in "
        f"{made['label_accuracy']:.0%}. The behaviour policy's value is "
        f"{made['behaviour_value']:.3f}. The score is a lexicon's: high is cheerful, not good."
    )


def pictures(run: Path, results: Results, names: Mapping[str, str]) -> list[Picture]:
    """Draw what can be drawn."""
    found = []
    stage = run / "responses" / "stage.json"
    behaviour = read_json(stage)["outputs"]["behaviour_value"] if stage.exists() else None
    if figures.frontier(results, names, run / "frontier.png", behaviour):
        found.append(Picture(run / "frontier.png", "Value against KL to the start, by round."))
    figures.curves(run, results, names, run / "curves.png")
    if (run / "curves.png").exists():
        found.append(Picture(run / "curves.png", "Training, and held-out numbers by round."))
    return found
