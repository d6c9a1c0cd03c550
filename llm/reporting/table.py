"""The table of a run on held-out rows: one line a policy, every number with its uncertainty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Numbers = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column: its title, the number it shows, the decimals, and what the title means."""

    title: str
    name: str
    digits: int
    meaning: str

    def cell(self, row: Numbers) -> str:
        """The number with its standard error or its interval; empty where there is none."""
        if row.get(self.name) is None:
            return ""
        text = f"{row[self.name]:.{self.digits}f}"
        if f"{self.name}_low" in row:
            low, high = row[f"{self.name}_low"], row[f"{self.name}_high"]
            return f"{text} [{low:.{self.digits}f}, {high:.{self.digits}f}]"
        error = row.get(f"{self.name}_stderr")
        return text if error is None else f"{text} ± {error:.{self.digits}f}"


COLUMNS = (
    Column("value", "reward", 3, "mean reward of its own answers to held-out prompts"),
    Column("gain", "gain", 3, "that value less the start's, prompt by prompt"),
    Column("wins", "win_rate", 2, "how often its answer has a higher reward than the start's"),
    Column("KL", "kl", 2, "KL(π ‖ start) in nats an answer, estimated from its own answers"),
    Column("accuracy", "accuracy", 2, "held-out pairs with log π/π₁ larger for the chosen answer"),
    Column("margin", "margin", 2, "mean of log π/π₁ (chosen) − log π/π₁ (rejected), in nats"),
    Column("Δ chosen", "logp_chosen_change", 2, "mean log-prob of chosen answers less the start's"),
    Column("Δ rejected", "logp_rejected_change", 2, "the same for rejected answers"),
    Column("length", "length", 1, "mean tokens of its answers"),
)


def columns(rows: Mapping[str, Numbers]) -> list[Column]:
    """The columns that some row fills."""
    return [c for c in COLUMNS if any(c.cell(row) for row in rows.values())]


def grid(rows: Mapping[str, Numbers], names: Mapping[str, str]) -> list[list[str]]:
    """Header and lines as text."""
    shown = columns(rows)
    lines = [[names[key], *(c.cell(row) for c in shown)] for key, row in rows.items()]
    return [["policy", *(c.title for c in shown)], *lines]


def legend(rows: Mapping[str, Numbers]) -> str:
    """What the columns mean, and what the uncertainties are."""
    words = "; ".join(f"{c.title}: {c.meaning}" for c in columns(rows))
    return (
        f"{words}. ± is one standard error over prompts, brackets are a 95 % interval (Wilson), the "
        "prompt being the unit."
    )
