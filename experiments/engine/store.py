"""The results store: one folder a cell, named by the hash of all that its numbers depend on.

    <store>/cells/<hash>/config.json                 what the cell is
    <store>/cells/<hash>/block-000-<checksum>.parquet   the first block of seeds, one row a seed
    <store>/cells/<hash>/error-000.json              why that block failed; it is tried again next time

The number of seeds is no part of a cell. A file appears whole or not at all, its name holds the
checksum of its bytes, and inside it says to which cell and block it belongs and how many rows it has:
all three are verified whenever it is read.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from experiments.common.files import remove_stale, translate, write_atomically, write_text
from experiments.engine.columns import SCHEMA_VERSION, Column, table
from spac_theory.checks import InputError
from spac_theory.version import RESULTS_VERSION

Config = dict[str, Any]
CHECKSUM = 16  # hexadecimal digits of the SHA-256 in the name of a block


def identity(config: Mapping[str, Any]) -> Config:
    """A cell's configuration with the versions that its numbers depend on, as plain JSON."""
    versions = {"results_schema": SCHEMA_VERSION, "results_version": RESULTS_VERSION}
    plain: Config = json.loads(json.dumps({**config, **versions}, allow_nan=False))
    return plain


def digest(config: Config) -> str:
    """The name of a cell: 32 hexadecimal digits of the SHA-256 of its canonical JSON."""
    text = json.dumps(config, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def open_store(place: str) -> Path:
    """The folder of a store, cleared of what killed runs left behind.

    Raises InputError where it is, or lies below, something that is no folder.
    """
    try:
        store = Path(place).expanduser()
        there = next(folder for folder in (store, *store.resolve().parents) if folder.exists())
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"store is {place!r:.60}, which names no folder ({error}).") from error
    if not place or not there.is_dir():
        raise InputError(f"store is {place!r}, and {there} is no folder; name a folder.")
    remove_stale(store / "cells")
    return store


@dataclass(frozen=True)
class CellFiles:
    """The files of one cell of a store; `config` is its full :func:`identity`."""

    root: Path
    config: Config

    @functools.cached_property
    def folder(self) -> Path:
        """Where the cell lives."""
        return self.root / "cells" / digest(self.config)

    def block_path(self, block: int) -> Path | None:
        """The file of a finished block, None where there is none."""
        return next(iter(self._block_paths(block)), None)

    def _block_paths(self, block: int) -> list[Path]:
        """The files of a block; more than one while two sweeps finish it at the same time."""
        start = f"block-{block:03d}-"
        try:
            names = os.listdir(self.folder)
        except OSError:
            return []
        return [
            self.folder / name
            for name in sorted(names)
            if name.startswith(start) and name.endswith(".parquet")
        ]

    def error_path(self, block: int) -> Path:
        """The record of a failure."""
        return self.folder / f"error-{block:03d}.json"

    def check(self) -> None:
        """Compare the stored configuration with this one; a hash alone is not trusted."""
        path = self.folder / "config.json"
        try:
            stored = json.loads(path.read_bytes())
        except FileNotFoundError:
            return
        except ValueError:
            stored = None
        except OSError as error:
            raise translate(error, str(self.folder)) from error
        if stored != self.config:
            raise InputError(
                f"{path} is not the configuration its folder is named after; delete that folder "
                "and run again."
            )

    def done(self, block: int) -> bool:
        """Whether a block is there (written whole)."""
        return self.block_path(block) is not None

    def read(self, block: int) -> pl.DataFrame:
        """The rows of a finished block, verified."""
        path = self.block_path(block)
        if path is None:
            raise InputError(f"{self.folder} has no block {block}; run again.")
        return read_block(path)

    def write_block(
        self, block: int, columns: dict[str, Any], own: Mapping[str, Column] | None = None
    ) -> None:
        """Store the rows of a block and forget an earlier failure.

        Where another sweep has finished the same block meanwhile, the file whose name sorts first stays:
        both hold the same numbers, and both writers agree on which.
        """
        self._write_config()
        count = len(columns["seed"])
        facts = {"cell": self.folder.name, "block": str(block), "rows": str(count)}
        sink = pa.BufferOutputStream()
        pq.write_table(table(columns, own, facts), sink)
        content = sink.getvalue().to_pybytes()
        path = self.folder / f"block-{block:03d}-{_checksum(content)}.parquet"
        write_atomically(path, lambda temporary: temporary.write_bytes(content))
        for other in self._block_paths(block)[1:]:
            other.unlink(missing_ok=True)
        self.error_path(block).unlink(missing_ok=True)

    def write_error(self, block: int, rows: Config, reason: str, details: str = "") -> None:
        """Record a failure: the reason in one line, the traceback, and how often it happened."""
        self._write_config()
        record = {**rows, "reason": reason, "attempts": self.attempts(block) + 1}
        text = json.dumps({**record, "details": details}, indent=1, ensure_ascii=False)
        write_text(self.error_path(block), text)

    def read_error(self, block: int) -> Config:
        """The record of a failure, empty if there is none; one that cannot be read says so."""
        path = self.error_path(block)
        try:
            record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        except (ValueError, OSError):
            record = None
        damaged: Config = {"reason": f"it failed, and {path.name}, which says why, is damaged"}
        return record if isinstance(record, dict) else damaged

    def attempts(self, block: int) -> int:
        """How often a block has failed since it last succeeded."""
        count = self.read_error(block).get("attempts", 0)
        return count if isinstance(count, int) else 0

    def _write_config(self) -> None:
        path = self.folder / "config.json"
        if not path.exists():
            write_text(path, json.dumps(self.config, indent=1, ensure_ascii=False))


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:CHECKSUM]


def read_block(path: Path) -> pl.DataFrame:
    """The rows of one block; a file that is damaged, copied or cut is named.

    Its bytes must have the checksum of its name, and its metadata the cell and block of its place.
    """
    _, number, sum_ = path.stem.split("-") if path.stem.count("-") == 2 else ("", "", "")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _refused(path, str(error)) from error
    if _checksum(content) != sum_:
        raise _refused(path, "its bytes have not the checksum of its name")
    rows = _parsed(path, content)
    facts = {key.decode(): value.decode() for key, value in (rows.schema.metadata or {}).items()}
    if (facts.get("cell"), facts.get("block", "").zfill(3)) != (path.parent.name, number):
        raise _refused(path, "it belongs to another cell or block")
    if facts.get("rows") != str(rows.num_rows):
        raise _refused(path, f"it has {rows.num_rows} rows of {facts.get('rows')}")
    return pl.from_arrow(rows)  # type: ignore[return-value]


def _parsed(path: Path, content: bytes) -> pa.Table:
    try:
        rows = pq.read_table(pa.BufferReader(content))
        rows.validate(full=True)
        _ = rows.schema.names, str(rows.schema.metadata)
        return rows
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _refused(path, str(error)) from error


def _refused(path: Path, why: str) -> InputError:
    reason = " ".join(why.split())
    return InputError(f"{path} cannot be read ({reason}); delete it and run again.")


def stack(frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Tables one below the other; a column that some lack is null there."""
    kept = list(frames)
    return pl.concat(kept, how="diagonal_relaxed") if kept else empty()


def empty() -> pl.DataFrame:
    """A table of results without rows."""
    return pl.from_arrow(table({"seed": []}))  # type: ignore[return-value]


def read_results(path: str | Path) -> pl.DataFrame:
    """The tidy table of a results file, of a sweep's output folder, or of a whole store.

    A store is read as it is: every finished block of every cell; columns say in which setting and with
    which options each row was made. Raises InputError where there is nothing to read.
    """
    place = Path(path)
    file = place if place.is_file() else place / "results.parquet"
    if file.is_file():
        try:
            return pl.from_arrow(_parsed(file, file.read_bytes()))  # type: ignore[return-value]
        except (
            OSError,
            ValueError,
            pl.exceptions.PolarsError,
            pl.exceptions.PanicException,
        ) as error:
            raise _refused(file, str(error)) from error
    files = sorted(place.glob("cells/*/block-*.parquet"))
    if not files:
        raise InputError(
            f"{place} holds no results; name a results.parquet, a sweep's folder or a store."
        )
    return stack(read_block(file) for file in files)
