"""The results store: one folder a cell, named by the hash of all that its numbers depend on.

    <store>/cells/<hash>/config.json         what the cell is
    <store>/cells/<hash>/block-000.parquet   the first block of seeds, one row a seed
    <store>/cells/<hash>/error-000.json      why that block failed; it is tried again next time

The number of seeds is no part of a cell. A file appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from experiments.common.files import write_atomically, write_text
from experiments.engine.columns import SCHEMA_VERSION, table
from spac_theory.checks import InputError
from spac_theory.version import RESULTS_VERSION

Config = dict[str, Any]


def identity(config: Mapping[str, Any]) -> Config:
    """A cell's configuration with the versions that its numbers depend on, as plain JSON."""
    versions = {"results_schema": SCHEMA_VERSION, "results_version": RESULTS_VERSION}
    plain: Config = json.loads(json.dumps({**config, **versions}, allow_nan=False))
    return plain


def digest(config: Config) -> str:
    """The name of a cell: 32 hexadecimal digits of the SHA-256 of its canonical JSON."""
    text = json.dumps(config, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class CellFiles:
    """The files of one cell of a store; `config` is its full :func:`identity`."""

    root: Path
    config: Config

    @property
    def folder(self) -> Path:
        """Where the cell lives."""
        return self.root / "cells" / digest(self.config)

    def block_path(self, block: int) -> Path:
        """The rows of a block."""
        return self.folder / f"block-{block:03d}.parquet"

    def error_path(self, block: int) -> Path:
        """The record of a failure."""
        return self.folder / f"error-{block:03d}.json"

    def check(self) -> None:
        """Compare the stored configuration with this one; a hash alone is not trusted."""
        path = self.folder / "config.json"
        if not path.exists():
            return
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            stored = None
        if stored != self.config:
            raise InputError(
                f"{path} is not the configuration its folder is named after; delete that folder "
                "and run again."
            )

    def done(self, block: int) -> bool:
        """Whether a block is there (written whole)."""
        return self.block_path(block).exists()

    def write_block(self, block: int, columns: dict[str, Any]) -> None:
        """Store the rows of a block and forget an earlier failure."""
        self._write_config()
        rows = table(columns)
        write_atomically(self.block_path(block), lambda path: pq.write_table(rows, path))
        self.error_path(block).unlink(missing_ok=True)

    def write_error(self, block: int, rows: Config, reason: str, details: str = "") -> None:
        """Record a failure: the reason in one line, the traceback, and how often it happened."""
        self._write_config()
        record = {**rows, "reason": reason, "attempts": self.attempts(block) + 1}
        text = json.dumps({**record, "details": details}, indent=1, ensure_ascii=False)
        write_text(self.error_path(block), text)

    def read_error(self, block: int) -> Config:
        """The record of a failure, empty if there is none."""
        path = self.error_path(block)
        record: Config = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return record

    def attempts(self, block: int) -> int:
        """How often a block has failed since it last succeeded."""
        return int(self.read_error(block).get("attempts", 0))

    def _write_config(self) -> None:
        path = self.folder / "config.json"
        if not path.exists():
            write_text(path, json.dumps(self.config, indent=1, ensure_ascii=False))


def read_block(path: Path) -> pl.DataFrame:
    """The rows of one file; a damaged file is named."""
    try:
        return pl.from_arrow(pq.read_table(path))  # type: ignore[return-value]
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read ({error}); delete it and run again.") from error


def stack(frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Tables one below the other; a column that some lack is null there."""
    kept = list(frames)
    return pl.concat(kept, how="diagonal_relaxed") if kept else empty()


def empty() -> pl.DataFrame:
    """A table of results without rows."""
    return pl.from_arrow(table({"seed": []}))  # type: ignore[return-value]


def read_results(path: str | Path) -> pl.DataFrame:
    """The tidy table of a results file, of a sweep's output folder, or of a whole store.

    A store is read as it is: every finished block of every cell. Raises InputError where there is
    nothing to read.
    """
    place = Path(path)
    if place.is_file():
        return read_block(place)
    if (place / "results.parquet").is_file():
        return read_block(place / "results.parquet")
    files = sorted(place.glob("cells/*/block-*.parquet"))
    if not files:
        raise InputError(
            f"{place} holds no results; name a results.parquet, a sweep's folder or a store."
        )
    return stack(read_block(file) for file in files)
