"""The league as one picture: every entry's mean, and beside it how it does at each coverage.

Entries that buy new labels or judgements stand apart from those that have the fixed data alone.
"""

from __future__ import annotations

from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.common.figure import make_figure
from experiments.common.style import BLACK, BLUE, title

Row = dict[str, Any]
HOUSE, FIELD = BLUE, BLACK  # the SPAC family, everybody else
SHADES = ("#c8c8c8", "#7d7d7d", "#000000")  # from the smallest n to the largest
GAP = 1.6  # rows of white between the two groups


def league_figure(rows: pl.DataFrame, lines: pl.DataFrame, judged: str) -> Figure:
    """The figure of a season: `rows` as `season` returns them, `lines` as `summary` does.

    `judged` is the column of `rows` that `lines` averages.
    """
    height, places = _places(lines.filter(pl.col("mean_tuned").is_not_null()).to_dicts())
    dials = rows["dial"].unique().sort().to_list()
    panels = 1 + len(dials)
    size = (4.6 + 1.7 * len(dials)) / panels, 1.5 + 0.175 * height
    ratios = [2.2, *[1.0] * len(dials)]
    fig, axes = make_figure(1, panels, size, width_ratios=ratios, sharey=True)
    _means(axes[0, 0], places, judged)
    for axis, dial in zip(axes[0, 1:], dials, strict=True):
        _at_coverage(axis, rows.filter(pl.col("dial") == dial), places, judged)
        axis.set_title(f"{rows['behaviour'][0].partition('(')[0]} {dial:g}")
        axis.sharex(axes[0, 1])
    axes[0, 0].set_ylim(height - 0.3, -1.2)
    handles, labels = axes[0, 1].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower right", ncols=len(labels), fontsize=8)
    fig.suptitle(_title(rows, lines), fontsize=9)
    return fig


def _places(lines: list[Row]) -> tuple[float, list[tuple[float, Row]]]:
    """The height of the figure in rows, and the row of each line: fixed data first, best first."""
    fixed = [line for line in lines if not line["queries"]]
    buying = [line for line in lines if line["queries"]]
    start = len(fixed) + (GAP if fixed else 0.0)
    places = [(float(i), line) for i, line in enumerate(fixed)]
    places += [(start + i, line) for i, line in enumerate(buying)]
    return start + len(buying), places


def _colour(label: str) -> str:
    return HOUSE if label.startswith("spac") else FIELD


def _means(axis: Axes, places: list[tuple[float, Row]], judged: str) -> None:
    """Default (hollow) and tuned (filled) mean over cells, with 95 % intervals."""
    for y, line in places:
        colour = _colour(line["algorithm"])
        axis.plot([line["mean_default"], line["mean_tuned"]], [y, y], color="0.8", lw=1, zorder=1)
        for kind, face in (("default", "white"), ("tuned", colour)):
            axis.errorbar(
                line[f"mean_{kind}"],
                y,
                xerr=line[f"half_{kind}"],
                marker="o" if kind == "default" else "s",
                color=colour,
                markerfacecolor=face,
                markersize=4.5,
                linewidth=0.8,
                zorder=2,
            )
    axis.set_yticks(
        [y for y, _ in places], [title(line["algorithm"]) for _, line in places], fontsize=7.5
    )
    for label, (_, line) in zip(axis.get_yticklabels(), places, strict=True):
        label.set_color(_colour(line["algorithm"]))
    axis.set_xlabel(f"mean {judged} over cells (95 % interval)")
    axis.set_title("all cells")
    keys = [
        Line2D([], [], color="0.2", marker="o", mfc="white", ls="", label="defaults"),
        Line2D([], [], color="0.2", marker="s", ls="", label="tuned"),
    ]
    axis.legend(handles=keys, loc="upper right", fontsize=8)
    _headings(axis, places)
    _tidy(axis)


def _headings(axis: Axes, places: list[tuple[float, Row]]) -> None:
    """A heading above each of the two groups."""
    for buys, words in ((False, "the fixed data alone"), (True, "and new labels or judgements")):
        rows = [y for y, line in places if bool(line["queries"]) == buys]
        if rows:
            axis.annotate(
                words,
                (0, min(rows) - 0.75),
                xycoords=("axes fraction", "data"),
                xytext=(4, 0),
                textcoords="offset points",
                fontsize=8,
                fontstyle="italic",
                va="center",
            )


def _at_coverage(
    axis: Axes, rows: pl.DataFrame, places: list[tuple[float, Row]], judged: str
) -> None:
    """Tuned means at one coverage, a dot for each sample size, darker with more data."""
    tuned = rows.filter(pl.col("tuning") == "tuned", pl.col(judged).is_not_null())
    means = tuned.group_by("algorithm", "n").agg(pl.col(judged).mean())
    found = {(r["algorithm"], r["n"]): r[judged] for r in means.to_dicts()}
    sizes = sorted(rows["n"].unique().to_list())
    for k, n in enumerate(sizes):
        points = [(found.get((line["algorithm"], n)), y) for y, line in places]
        shown = [(x, y) for x, y in points if x is not None]
        shade = SHADES[round(k * (len(SHADES) - 1) / max(len(sizes) - 1, 1))]
        axis.plot(
            [x for x, _ in shown],
            [y for _, y in shown],
            linestyle="",
            marker="o",
            markersize=4.5,
            color=shade,
            zorder=2 + k,
            label=f"n = {n:,}",
        )
    axis.set_xlabel("tuned")
    _tidy(axis)


def _tidy(axis: Axes) -> None:
    axis.set_xlim(left=0)
    axis.margins(x=0.04)
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)


def _title(rows: pl.DataFrame, lines: pl.DataFrame) -> str:
    """What came out, in one sentence."""
    fixed = lines.filter(pl.col("mean_tuned").is_not_null(), pl.col("queries") == 0)
    best = fixed.sort("mean_tuned").row(0, named=True) if fixed.height else None
    cells = rows.select("dial", "n").unique().height
    size = f"{lines.height} entries, {cells} cells, {rows['seed'].n_unique()} data sets each"
    if best is None:
        return size
    least = f"{title(best['algorithm'])}, {best['mean_tuned']:.3f}"
    return f"{size}; least mean of the fixed data alone, tuned: {least}"
