"""How curves look: colours for the colour-blind (Okabe and Ito), markers and dashes for print in grey."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
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
    "spac_certified_theorem": Style("SPAC (λ by the theorem's radius)", SKY, "d", DOTTED),
    "spac_kl": Style("SPAC with a KL term", GREEN, "s", MIXED),
    "spac_practical": Style("SPAC, practical form", SKY, "^", MIXED),
    "chi_po": Style("χPO", WINE, "o"),
    "chi2_rlhf": Style("χ²-RLHF", WINE, "s", DASHED),
    "dno": Style("DNO", RED, "s", DOTTED),
    "drpo": Style("DRPO", ORANGE, "D", MIXED),
    "hypo": Style("HyPO", ORANGE, "s", DASHED),
    "ipo": Style("IPO", PINK, "s", DASHED),
    "linear_alignment": Style("Linear Alignment", BLACK, "^", DASHED),
    "mpo": Style("MPO", RED, "d", MIXED),
    "nash_md": Style("Nash-MD", RED, "o", MIXED),
    "online_dpo": Style("online DPO", ORANGE, "o", DOTTED),
    "rebel": Style("REBEL", RED, "D", DASHED),
    "rpo": Style("RPO", WINE, "^", MIXED),
    "sail": Style("SAIL", ORANGE, "p", DOTTED),
    "sapo": Style("SAPO", ORANGE, "h", MIXED),
    "sim_oprl": Style("Sim-OPRL", BLACK, "s", DOTTED),
    "simpo": Style("SimPO", PINK, "D", MIXED),
    "spin": Style("SPIN", PINK, "o", DOTTED),
    "spo": Style("SPO", RED, "p", DOTTED),
    "sppo": Style("SPPO", RED, "^", MIXED),
    "vpo_offline": Style("VPO (offline)", WINE, "D", DOTTED),
    "vpo_online": Style("VPO (online)", WINE, "v", DASHED),
    "xpo": Style("XPO", WINE, "p", MIXED),
}
HEADS = {"spac": "SPAC", "spac_t": "SPAC-T"}  # heads of labels that are no label themselves
_SPARE = [(c, m) for m in ("*", "P", "X", "8", ">") for c in (ORANGE, PINK, RED, WINE, BLACK)]


SERIES = (BLACK, BLUE, RED, GREEN, PINK, SKY)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":", DASHED, MIXED, DOTTED)


def series(index: int, **more: Any) -> dict[str, Any]:
    """Colour, marker and dashes of curve number `index` of a panel; no two alike among the first 42."""
    look = {"color": SERIES[index % len(SERIES)], "marker": MARKERS[index % len(MARKERS)]}
    return {**look, "ls": LINES[index % len(LINES)], "ms": 4, **more}


def title(label: str) -> str:
    """A label in words: `"spac_t mixture"` is `"SPAC-T mixture"`; a stranger's as it is written."""
    if label in STYLES:
        return STYLES[label].name
    head, space, rest = label.partition(" ")
    known = HEADS.get(head) or (STYLES[head].name if head in STYLES else None)
    return f"{known}{space}{rest}" if known else label.replace("_", " ").replace("$", r"\$")


def style(label: str) -> Style:
    """The style of an algorithm alone; :func:`looks` tells several strangers apart."""
    return looks([label])[label]


def looks(labels: Iterable[str]) -> dict[str, Style]:
    """A style for each label of a figure: its own, and for strangers spares that no other one there has."""
    wanted = list(dict.fromkeys(labels))
    taken = {(STYLES[a].colour, STYLES[a].marker) for a in wanted if a in STYLES}
    spare = itertools.cycle([look for look in _SPARE if look not in taken])
    return {
        a: STYLES[a] if a in STYLES else Style(title(a), *next(spare), DASHED, 1.8) for a in wanted
    }


def use_style() -> None:
    """Set matplotlib's defaults for the project's figures."""
    matplotlib.rcParams.update(RC)
