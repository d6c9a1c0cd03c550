"""How curves look: colours for the colour-blind (Okabe and Ito), markers and dashes for print in grey."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import matplotlib

# Okabe and Ito's colours, and the greys of axes and notes.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PINK, SKY, BLACK, WINE = "#CC79A7", "#56B4E9", "#000000", "#882255"
GREY, MIDDLE, NOTE, BAND = "#9a9a9a", "#7F7F7F", "#555555", "#EFEFEF"
RC: Any = {
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "pdf.fonttype": 42,
}


@dataclass(frozen=True)
class Style:
    """Name in words, colour, marker and dash pattern of one curve."""

    name: str
    colour: str
    marker: str
    line: str | tuple[int, tuple[float, ...]] = "-"
    width: float = 1.4


DASHED, DOTTED, MIXED = (0, (5, 2)), (0, (1.2, 1.6)), (0, (6, 1.6, 1.2, 1.6))
STYLES: dict[str, Style] = {
    "spac_sqrt_n": Style("SPAC (λ = √n)", BLUE, "o", width=2.4),
    "spac_wilks": Style("SPAC (λ by Wilks' radius)", SKY, "s", width=1.8),
    "spac_constrained_wilks": Style("SPAC (no λ, Wilks' radius)", GREEN, "*", DASHED, 1.8),
    "spac_constrained": Style("SPAC (no λ)", GREEN, "*", DOTTED),
    "spac_t": Style("SPAC-T (mixture)", GREEN, "D", width=1.8),
    "mle_greedy": Style("greedy maximum likelihood", RED, "v", DASHED, 1.8),
    "dpo_gradient": Style("DPO by gradient", ORANGE, "^", DASHED, 1.8),
    "dpo": Style("DPO in closed form", PINK, "<", MIXED),
    "kl_rlhf": Style("KL-RLHF", WINE, ">", DOTTED),
    "pessimistic_mle": Style("pessimistic MLE", BLACK, "P", MIXED),
    "behaviour_cloning": Style("behaviour cloning", "#777777", "X", DOTTED),
    "spac_oracle": Style("SPAC (λ*, oracle)", BLUE, "h", DOTTED),
    "spac_held_out": Style("SPAC (λ held out)", SKY, "p", DASHED),
    "spac_fixed": Style("SPAC (λ fixed)", BLUE, "d", MIXED),
    "spac_t_last": Style("SPAC-T (last iterate)", GREEN, "d", DASHED),
    "pessimistic_mle_pointwise": Style("pessimistic MLE (pointwise)", BLACK, "p", DOTTED),
    "uniform": Style("uniform", "#777777", "1", DASHED),
}
_SPARE = [(c, m) for m in "oDs^v" for c in (BLUE, RED, GREEN, PINK, BLACK)]


SERIES = (BLACK, BLUE, RED, GREEN, PINK, SKY)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":", DASHED, MIXED, DOTTED)


def series(index: int, **more: Any) -> dict[str, Any]:
    """Colour, marker and dashes of curve number `index` of a panel; no two alike among the first 42."""
    look = {"color": SERIES[index % len(SERIES)], "marker": MARKERS[index % len(MARKERS)]}
    return {**look, "ls": LINES[index % len(LINES)], "ms": 4, **more}


def style(label: str, position: int = 0) -> Style:
    """The style of an algorithm; one that has none gets a spare by its position in the figure."""
    if label in STYLES:
        return STYLES[label]
    colour, marker = _SPARE[position % len(_SPARE)]
    name = label.replace("_", " ").replace("$", r"\$")
    return Style(name, colour, marker, DASHED)


def use_style() -> None:
    """Set matplotlib's defaults for the project's figures."""
    matplotlib.rcParams.update(RC)
