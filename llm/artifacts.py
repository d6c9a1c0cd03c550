"""Files on disk: written whole or not at all, and named by the hash of what they hold."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spac_theory.checks import InputError

Rows = list[dict[str, Any]]


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary neighbour of `path`, then rename it into place.

    A full disk becomes one sentence, and the half-written neighbour is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise translate(error, str(path.parent)) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def translate(error: Exception, place: str) -> Exception:
    """A full disk as one sentence, whoever met it (safetensors has an error of its own)."""
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    if full or "No space left on device" in str(error):
        return InputError(
            f"The disk that holds {place} is full; free some space and run the same command "
            "again, finished work is kept."
        )
    return error


def write_json(path: Path, value: Any) -> None:
    """Write `value` as sorted, indented JSON."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    write_atomically(path, lambda p: _write_text(p, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


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
