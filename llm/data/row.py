"""The native row of this package, `(prompt, chosen, rejected, self-play, …)`, and its columns on disk.

A column is named by what it holds and of which stream: `ids/chosen`, `logp/initial/chosen` (the frozen
policy's name first), `score/own`, `wins/own`, `weight/own`. Every column holds one list a row, an entry
a response.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm.data.padding import Ids
from llm.files.digests import read_rows, write_rows

Values = list[float]


@dataclass(frozen=True)
class Row:
    """A prompt, its responses by stream, and what the stages found out about them.

    `logp[anchor][stream]` holds `log π_a(y|x)` under a frozen policy, `score[stream]` a judge's
    scores, `wins[stream][i][j]` how surely response `i` beats `j`, and `weight[stream]` the
    probabilities of the responses where they enumerate a distribution (absent: all alike). `row_weight > 0`
    is how often the row counts, as if it stood there so often.
    """

    prompt: Ids
    responses: dict[str, list[Ids]]
    logp: dict[str, dict[str, Values]] = field(default_factory=dict)
    score: dict[str, Values] = field(default_factory=dict)
    wins: dict[str, list[Values]] = field(default_factory=dict)
    weight: dict[str, Values] = field(default_factory=dict)
    key: str = ""
    number: int = 0
    row_weight: float = 1.0

    def record(self) -> dict[str, Any]:
        """The row as columns."""
        columns: dict[str, Any] = {"row": self.number, "prompt_key": self.key}
        columns |= {"prompt_ids": self.prompt, "row_weight": self.row_weight}
        columns |= {f"ids/{stream}": ids for stream, ids in self.responses.items()}
        for anchor, logps in self.logp.items():
            columns |= {logp_column(anchor, stream): v for stream, v in logps.items()}
        for name in ("score", "wins", "weight"):
            columns |= {f"{name}/{stream}": v for stream, v in getattr(self, name).items()}
        return columns

    @classmethod
    def of(cls, columns: Mapping[str, Any]) -> Row:
        """The row that these columns describe; columns of another kind are passed over."""
        row = cls(
            columns["prompt_ids"],
            {},
            key=columns.get("prompt_key", ""),
            number=columns.get("row", 0),
            row_weight=columns.get("row_weight", 1.0),
        )
        for name, value in columns.items():
            kind, _, rest = name.partition("/")
            if kind == "ids":
                row.responses[rest] = value
            elif kind == "logp":
                anchor, _, stream = rest.partition("/")
                row.logp.setdefault(anchor, {})[stream] = value
            elif kind in ("score", "wins", "weight"):
                getattr(row, kind)[rest] = value
        return row


def logp_column(anchor: str, stream: str) -> str:
    """The column of `log π_a` of a stream."""
    return f"logp/{anchor}/{stream}"


def read_native(path: Path) -> list[Row]:
    """The rows of a Parquet file."""
    return [Row.of(columns) for columns in read_rows(path)]


def write_native(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as one Parquet file."""
    write_rows(path, [row.record() for row in rows])
