"""How curves look: colours for the colour-blind (Okabe and Ito), markers and dashes for print in grey."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt

GREY = "#9a9a9a"
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
    "spac_sqrt_n": Style("SPAC (λ = √n)", "#0072B2", "o", width=2.4),
    "spac_certified": Style("SPAC (λ certified from data)", "#56B4E9", "s", width=1.8),
    "spac_t": Style("SPAC-T (mixture)", "#009E73", "D", width=1.8),
    "mle_greedy": Style("greedy maximum likelihood", "#D55E00", "v", DASHED, 1.8),
    "dpo_gradient": Style("DPO by gradient", "#E69F00", "^", DASHED, 1.8),
    "dpo": Style("DPO in closed form", "#CC79A7", "<", MIXED),
    "kl_rlhf": Style("KL-RLHF", "#882255", ">", DOTTED),
    "pessimistic_mle": Style("pessimistic MLE", "#000000", "P", MIXED),
    "behaviour_cloning": Style("behaviour cloning", "#777777", "X", DOTTED),
    "spac_oracle": Style("SPAC (λ*, oracle)", "#0072B2", "h", DOTTED),
    "spac_held_out": Style("SPAC (λ held out)", "#56B4E9", "p", DASHED),
    "spac_fixed": Style("SPAC (λ fixed)", "#0072B2", "d", MIXED),
    "spac_t_last": Style("SPAC-T (last iterate)", "#009E73", "d", DASHED),
    "pessimistic_mle_pointwise": Style("pessimistic MLE (pointwise)", "#000000", "p", DOTTED),
    "uniform": Style("uniform", "#777777", "1", DASHED),
}
_SPARE = [(c, m) for m in "oDs^v" for c in ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000")]


def style(label: str, position: int = 0) -> Style:
    """The style of an algorithm; one that has none gets a spare by its position in the figure."""
    if label in STYLES:
        return STYLES[label]
    colour, marker = _SPARE[position % len(_SPARE)]
    return Style(label.replace("_", " "), colour, marker, DASHED)


def use_style() -> None:
    """Set matplotlib's defaults for the project's figures."""
    plt.rcParams.update(RC)
