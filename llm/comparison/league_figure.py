"""The league as one picture: a panel a coverage, an interval a method and language, two leagues' ranks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.common.figure import made_by, make_figure
from experiments.common.style import BLUE, RED
from llm.comparison.carried import ranks
from llm.comparison.setting import BANDIT, SFT
from spac_theory.statistics import student_interval

if TYPE_CHECKING:
    from llm.comparison.league import Season

LOOKS = (("o", BLUE), ("s", RED), ("D", "#000000"))  # of the languages, in order
GAP = 1.4  # rows of white between those with the data alone and those that ask a judge
APART = 0.17  # between the languages of a method, up and down


def draw(season: Season, path: Path) -> None:
    """Values with intervals by coverage; beside them the ranks, if the bandit's league is known."""
    rows, height = _rows(season)
    coverages = sorted({cell.coverage for cell, _ in season.places})
    panels = len(coverages) + (season.bandit is not None)
    size = (1.8 + 2.2 * panels) / panels, 1.3 + 0.21 * height
    figure, axes = make_figure(1, panels, size, sharey=True)
    for axis, coverage in zip(axes[0], coverages, strict=False):
        _values(season, axis, coverage, rows)
    if season.bandit is not None:
        _ranks(season, axes[0, -1], rows)
    first = axes[0, 0]
    first.set_yticks(list(rows.values()), [season.title(name) for name in rows], fontsize=8)
    first.set_ylim(height - 0.3, -1.1)
    for words, names in _groups(season).items():
        if names:
            _heading(first, rows[names[0]], words)
    handles, labels = first.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8)
    seeds = len({seed for _, seed in season.places})
    figure.suptitle(
        f"True value of every method on the synthetic languages, n = {_sizes(season)},\n"
        f"each at the best of as many settings; mean and 95 % interval over {seeds} fresh seeds",
        fontsize=9,
    )
    figure.savefig(path, format="png", dpi=150, metadata=made_by("png", "league.json"))


def _sizes(season: Season) -> str:
    return ", ".join(f"{n:,}" for n in sorted({cell.n for cell, _ in season.places}))


def _groups(season: Season) -> dict[str, list[str]]:
    """The methods with the data alone and those that ask, the best first."""
    asking = [name for name in season.order if season.asks(name)]
    alone = [name for name in season.order if name not in asking]
    return {"no labels but the data's": alone, "and a judge's labels (†)": asking}


def _rows(season: Season) -> tuple[dict[str, float], float]:
    """The row of each method, and the height of all."""
    rows, height = dict[str, float](), 0.0
    for names in _groups(season).values():
        height += GAP if rows and names else 0.0
        rows |= {name: height + i for i, name in enumerate(names)}
        height += len(names)
    return rows, height


def _values(season: Season, axis: Any, coverage: float, rows: dict[str, float]) -> None:
    """One coverage: an interval a method and language, and lines for the start and for exact SPAC."""
    languages = list(dict.fromkeys(cell.language for cell in season.cells))
    for i, ((marker, colour), language) in enumerate(zip(LOOKS, languages, strict=False)):
        cells = [c for c in season.cells if (c.language, c.coverage) == (language, coverage)]
        if not any(cell in cells for cell, _ in season.places):
            continue
        shift = APART * (2 * i - len(languages) + 1)
        for name, row in rows.items():
            found = student_interval(season.values(name, cells))
            known = abs(found.half_width) < float("inf")
            axis.errorbar(
                found.estimate, row + shift, xerr=found.half_width if known else None,
                fmt=marker, color=colour, ms=3.6, lw=1, capsize=0, mfc="none" if i % 2 else colour,
                label=language if name == next(iter(rows)) else None,
            )  # fmt: skip
        for own, dashes, words in (
            (SFT, ":", "start"),
            (BANDIT, "--", "exact SPAC in the bandit, told k"),
        ):
            if all((own.method, *p) in season.table for p in season.places):
                at = float(season.values(own.method, cells).mean())
                axis.axvline(
                    at, color=colour, ls=dashes, lw=1, zorder=0, label=f"{words} ({language})"
                )
    axis.set_title(f"coverage {coverage:g}")
    axis.set_xlabel("true value J(π)")
    _tidy(axis)


def _ranks(season: Season, axis: Any, rows: dict[str, float]) -> None:
    """Ranks here and in the bandit's league, among the methods that both have, joined by a line."""
    assert season.bandit is not None
    here, there = season.here(season.cells), season.bandit.losses(season.order)
    both = {name: losses for name, losses in here.items() if name in there}
    if not both:
        axis.set_axis_off()
        return
    ours, theirs = ranks(both), ranks({name: there[name] for name in both})
    for name in both:
        ends = [ours[name], theirs[name]]
        axis.plot(ends, [rows[name]] * 2, color="0.75", lw=1.5, zorder=1)
        axis.plot(ends[0], rows[name], "o", color="0.0", ms=4.5, zorder=3)
        axis.plot(ends[1], rows[name], "D", color="0.0", ms=5, mfc="white", zorder=2)
    axis.set_title("rank: ● here, ◇ in the bandit")
    axis.set_xlabel("rank (1 is best)")
    _tidy(axis)


def _heading(axis: Any, row: float, words: str) -> None:
    axis.annotate(
        words, (0, row - 0.8), xycoords=("axes fraction", "data"), xytext=(4, 0),
        textcoords="offset points", fontsize=8, fontstyle="italic", va="center",
    )  # fmt: skip


def _tidy(axis: Any) -> None:
    axis.grid(axis="x", visible=False)
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)
