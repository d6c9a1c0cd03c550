"""Files on disk: written whole or not at all, whatever happens on the way."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spac_theory.checks import InputError


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
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
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))
