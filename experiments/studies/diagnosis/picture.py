"""The picture of a diagnosis of rows: certified gains, calibration, and where coverage is missing."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from experiments.common.figure import make_figure
from experiments.common.style import BLACK, BLUE, GREY, MIDDLE, RED, STYLES
from experiments.studies.diagnosis.page import Findings
from experiments.studies.diagnosis.verdicts import Stand

GROUPS = 10
LONGEST = 38  # characters of a label


def draw(found: Findings) -> Figure:
    """Three panels."""
    drawn, axes = make_figure(1, 3, (5.0, 3.8))
    draw_gains(axes[0, 0], found.stand, "what best-of-K promises, and what is certified")
    _calibration(axes[0, 1], found)
    _groups(axes[0, 2], found)
    return drawn


def shorten(text: str, most: int) -> str:
    """At most so many characters, the last one a mark that there were more."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def named(label: str) -> str:
    """An algorithm's name in words."""
    return STYLES[label].name if label in STYLES else label


def draw_gains(axis: Any, stand: Stand, title: str) -> None:
    """What each policy promises, and what is certified of it."""
    names = list(stand.reports)[::-1]
    rows = range(len(names))
    fitted = [stand.gains[k] for k in names]
    near = [stand.reports[k].improvement_asymptotic for k in names]
    axis.hlines(rows, near, fitted, color=GREY, lw=1.2)
    axis.plot(fitted, rows, "o", color=BLACK, mfc="none", label="fitted, believed")
    axis.plot(near, rows, "s", color=BLUE, label="at least, n → ∞ (Wilks)")
    axis.plot([stand.reports[k].improvement for k in names], rows, "|", color=RED, ms=11, mew=2.2,
              label="at least, theorem")  # fmt: skip
    axis.axvline(0, color=MIDDLE, lw=0.8)
    axis.set_yticks(list(rows), [named(k) for k in names], fontsize=8)
    axis.set(xlabel="gain in reward over what was recorded")
    axis.set_ylim(-0.6, len(names) + 0.9)
    axis.set_title(title)
    axis.legend(loc="upper left", fontsize=7, ncol=3, columnspacing=0.8, handletextpad=0.2)


def _calibration(axis: Any, found: Findings) -> None:
    """Predicted against observed on held-out comparisons."""
    bins = found.evidence.bins
    x = [b.predicted for b in bins]
    y = [b.observed.estimate for b in bins]
    low = [b.observed.estimate - b.observed.low for b in bins]
    high = [b.observed.high - b.observed.estimate for b in bins]
    axis.plot([0.5, 1], [0.5, 1], color=MIDDLE, lw=0.8)
    axis.errorbar(
        x, y, yerr=[low, high], color=BLUE, marker="o", ls="", capsize=2, label="features"
    )
    alone = found.evidence.agreement["length alone"].right.estimate
    axis.axhline(alone, color=RED, lw=1, ls="--", label="length alone")
    axis.set(
        xlabel="predicted probability of the side the fit prefers", ylabel="held out: came true"
    )
    axis.set_title("held-out comparisons, 95 % intervals")
    axis.legend(loc="upper left", fontsize=7)


def _groups(axis: Any, found: Findings) -> None:
    """The least covered groups of prompts."""
    groups = found.groups[:GROUPS][::-1]
    for row, group in enumerate(groups):
        look = {"color": RED, "hatch": "///"} if group.blind else {"color": BLUE}
        axis.barh(row, group.regularised, height=0.6, alpha=0.75, edgecolor="white", **look)
    names = [shorten(f"{g.kind}: {g.name}", LONGEST) for g in groups]
    axis.set_yticks(range(len(groups)), names, fontsize=7)
    axis.set_axisbelow(True)
    axis.set(xlabel="C_γ of the policy within the group")
    axis.set_title(
        f"where {named(found.best)} is covered least\n(red, hatched: not known to be better)"
    )
