"""Training curves, and what the policies gain for how far they move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.common.figure import made_by
from experiments.common.files import read_json, write_atomically
from experiments.common.style import RC

# Colours of Okabe and Ito, each with a marker, so that grey print keeps them apart.
MARKS = (
    ("#E69F00", "s"),
    ("#56B4E9", "^"),
    ("#009E73", "D"),
    ("#D55E00", "o"),
    ("#CC79A7", "v"),
    ("#0072B2", "P"),
    ("#000000", "X"),
)
# Panels of the training curves: the field of the log, and its title.
TRAINING = {
    "loss": "training loss",
    "rewards/margins": "margin on training batches",
    "rewards/accuracies": "accuracy on training batches",
    "spac/critic_gap": "critic gap",
}
HELD_OUT = {
    "margin": "held-out margin, nats",
    "accuracy": "held-out accuracy",
    "kl": "KL to the start, nats",
    "reward": "value",
}
Rounds = Mapping[str, Sequence[Mapping[str, Any]]]


def mark(position: int) -> dict[str, str]:
    """Colour and marker of the method at `position`."""
    colour, marker = MARKS[position % len(MARKS)]
    return {"color": colour, "marker": marker}


def logs(run: Path, method: str, rounds: int) -> list[dict[str, Any]]:
    """The log entries of all rounds, with `step` counted through."""
    entries, done = [], 0
    for t in range(1, rounds + 1):
        path = run / method / f"round-{t:02d}" / "train" / "log.json"
        part = read_json(path) if path.exists() else []
        entries += [{**entry, "at": done + entry["step"]} for entry in part]
        done = entries[-1]["at"] if entries else 0
    return entries


def curves(run: Path, results: Rounds, names: Mapping[str, str], path: Path) -> None:
    """Loss, margin and accuracy by step, and the held-out numbers by round; empty panels left out."""
    methods = [name for name in results if name != "sft"]
    history = {name: logs(run, name, len(results[name])) for name in methods}
    training = [k for k in TRAINING if any(k in e for es in history.values() for e in es)]
    held_out = [k for k in HELD_OUT if any(k in r for name in methods for r in results[name])]
    panels = len(training) + len(held_out)
    if not panels:
        return
    canvas, axes = _canvas(panels)
    for panel, key in zip(axes, training, strict=False):
        for position, name in enumerate(methods):
            points = [(e["at"], e[key]) for e in history[name] if key in e]
            if points:
                panel.plot(*zip(*points, strict=True), color=mark(position)["color"], lw=1.2)
        panel.set(title=TRAINING[key], xlabel="step, all rounds")
    for panel, key in zip(axes[len(training) :], held_out, strict=True):
        for position, name in enumerate(methods):
            start = {"margin": 0.0, "kl": 0.0, **results["sft"][-1]}
            _by_round(panel, [start, *results[name]], key, mark(position))
        panel.set(title=HELD_OUT[key], xlabel="round")
        panel.set_xticks(range(1 + max(len(results[name]) for name in methods)))
    _legend(canvas, methods, names)
    _save(canvas, path)


def _by_round(panel: Any, reports: Sequence[Mapping[str, Any]], key: str, look: Any) -> None:
    points = [(t, r[key], r.get(f"{key}_stderr", 0.0)) for t, r in enumerate(reports) if key in r]
    if points:
        t, value, error = zip(*points, strict=True)
        panel.errorbar(t, value, yerr=error, **look, ms=4, lw=1.2, capsize=2)


def _canvas(panels: int) -> tuple[Any, list[Any]]:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    width = min(panels, 4)
    height = -(-panels // width)
    with mpl.rc_context(RC):
        canvas = Figure(figsize=(3.1 * width, 2.5 * height + 0.4), layout="constrained")
        axes = list(canvas.subplots(height, width, squeeze=False).flatten())
    for spare in axes[panels:]:
        spare.set_axis_off()
    return canvas, axes[:panels]


def _legend(canvas: Any, methods: Sequence[str], names: Mapping[str, str]) -> None:
    from matplotlib.lines import Line2D

    looks: list[Any] = [mark(i) for i in range(len(methods))]
    handles = [Line2D([], [], **look, ms=5) for look in looks]
    canvas.legend(
        handles,
        [names[name] for name in methods],
        loc="outside lower center",
        ncols=min(len(methods), 5),
        frameon=False,
    )


def frontier(
    results: Rounds,
    names: Mapping[str, str],
    path: Path,
    behaviour: float | None,
) -> bool:
    """Value against KL, a path of rounds a method from the start; False where no reward is known."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    start = results["sft"][-1]
    if "reward" not in start:
        return False
    with mpl.rc_context(RC):
        canvas = Figure(figsize=(6.2, 4.2), layout="constrained")
        axes = canvas.add_subplot()
        for position, name in enumerate(n for n in results if n != "sft"):
            _path(axes, [start, *results[name]], mark(position), names[name])
        error = start.get("reward_stderr", 0.0)
        axes.errorbar([0], [start["reward"]], yerr=[error], fmt="*", color="0.3", ms=11, capsize=2)
        axes.annotate(
            names["sft"], (0, start["reward"]), xytext=(7, -12), textcoords="offset points"
        )
        if behaviour is not None:
            axes.axhline(behaviour, color="0.6", ls="--", lw=1)
            axes.annotate(
                "behaviour that the data come from",
                (1, behaviour),
                xycoords=("axes fraction", "data"),
                ha="right",
                xytext=(0, 3),
                textcoords="offset points",
                color="0.4",
            )
        axes.set(
            xlabel="KL(π ‖ start), nats an answer",
            ylabel="value on held-out prompts",
            title="Reward against distance; a path goes through the rounds; bars: one standard error",
        )
        axes.legend(loc="best")
    _save(canvas, path)
    return True


def _path(axes: Any, reports: Sequence[Mapping[str, Any]], look: Any, name: str) -> None:
    x = [r.get("kl", 0.0) for r in reports]
    y = [r["reward"] for r in reports]
    across = [r.get("kl_stderr", 0.0) for r in reports]
    up = [r.get("reward_stderr", 0.0) for r in reports]
    axes.plot(x, y, color=look["color"], lw=1, alpha=0.6)
    axes.errorbar(
        x[1:], y[1:], xerr=across[1:], yerr=up[1:], fmt=look["marker"], color=look["color"],
        ms=6, lw=0.9, capsize=2, label=name,
    )  # fmt: skip


def _save(canvas: Any, path: Path) -> None:
    facts = made_by("png", "results.json")
    write_atomically(path, lambda p: canvas.savefig(p, format="png", dpi=150, metadata=facts))
