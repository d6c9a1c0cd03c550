"""What a kind of results is: how its folder is read, what it answers, how two of them are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from experiments.common.table import Table


@dataclass(frozen=True)
class Source:
    """A folder of results: its kind, its rows, the command that made it, versions; `more` is its kind's."""

    folder: Path
    kind: str
    rows: pl.DataFrame
    command: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    more: Any = None

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.resolve().name


@dataclass(frozen=True)
class Picture:
    """Figures side by side, the sentence below them and the data in them.

    Without `data` they are the points drawn. `shown` are the curves that are there at first (None: all);
    a value below `floor` is told as that.
    """

    name: str
    figures: Sequence[Figure]
    words: str
    data: pl.DataFrame | None = None
    shown: frozenset[str] | None = None
    floor: float = 0.0


@dataclass(frozen=True)
class Told:
    """What a page says of results: answers, pictures, tables, the reports of their own program, data."""

    answers: list[str]
    pictures: list[Picture] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    reports: list[Path] = field(default_factory=list)
    images: list[Path] = field(default_factory=list)
    data: Mapping[str, pl.DataFrame] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """A kind of results.

    Attributes
    ----------
    name : one word
    of : what its folder is, for a sentence
    read : a folder to its source; None where the folder is none of this kind. Raises InputError where it is
        one that cannot be read
    tell : a source to what the page says
    compare : two sources of this kind to what tells them apart. Raises InputError where they share nothing
    """

    name: str
    of: str
    read: Callable[[Path], Source | None]
    tell: Callable[[Source], Told]
    compare: Callable[[Source, Source], Told]
