"""Rows on disk, and the hashes that name what rows, models and folders hold."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from experiments.common.files import read_json, write_atomically

Rows = list[dict[str, Any]]


def write_rows(path: Path, rows: Rows) -> None:
    """Write rows as one Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    write_atomically(path, lambda p: pq.write_table(pa.Table.from_pylist(rows), p))


def read_rows(path: Path) -> Rows:
    """Read the rows of a Parquet file."""
    import pyarrow.parquet as pq

    rows: Rows = pq.read_table(path).to_pylist()
    return rows


def digest(value: Any) -> str:
    """A hash (16 hex digits of SHA-256) of a JSON value."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """A hash of a file's bytes."""
    sha = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()[:16]


def model_digest(directory: Path) -> str:
    """A hash of a saved model: its configuration and weights, not the path of an adapter's base."""
    parts: dict[str, Any] = {
        path.name: file_digest(path) for path in directory.glob("*.safetensors")
    }
    for path in (directory / "config.json", directory / "adapter_config.json"):
        if path.exists():
            values = read_json(path)
            values.pop("base_model_name_or_path", None)
            parts[path.name] = values
    return digest(parts)


def tokenizer_digest(tokenizer: Any) -> str:
    """A hash of vocabulary and special tokens (not of the chat template)."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    body = backend.to_str() if backend is not None else sorted(tokenizer.get_vocab().items())
    return digest([body, tokenizer.special_tokens_map])
