"""How often each bound is violated, and how loose it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from experiments.common.table import Table
from experiments.engine.study import Told
from experiments.studies.violations.cells import CLASSES, Settings
from spac_theory.statistics import clopper_pearson

BOUNDS = {"t1": "(T1)", "textbook": "(T1) with κ² for 4κ", "t2": "(T2)", "h": "event (H)"}
HEADER = ["class", "bound", "instances", "violated", "95 % interval", "allowed"]
HEADER += ["median", "90 %", "99 %", "largest"]


def report(rows: pl.DataFrame, settings: Settings) -> Told:
    """Violations with their Clopper–Pearson interval, and quantiles of measured over bound."""
    parts = {kind: rows.filter(pl.col("reward_class") == kind) for kind in CLASSES} | {"all": rows}
    lines = [
        _line(kind, words, part[name].to_numpy(), settings.delta)
        for kind, part in parts.items()
        for name, words in BOUNDS.items()
    ]
    return Told(Table("Violations on random realizable instances", HEADER, lines, left=2))


def _line(kind: str, words: str, ratio: Any, delta: float) -> list[Any]:
    """One class and bound; a ratio that is no number counts as violated."""
    broken = int((~(ratio <= 1)).sum())
    interval = clopper_pearson(broken, len(ratio))
    quantiles = np.quantile(ratio, [0.5, 0.9, 0.99, 1.0])
    share = f"[{interval.low:.2g}, {interval.high:.2g}]"
    counts = [str(len(ratio)), str(broken), share, f"{delta:g}"]
    return [kind, words, *counts, *(f"{q:.3f}" for q in quantiles)]
