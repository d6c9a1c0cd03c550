"""Files on disk: written whole or not at all, whatever happens on the way."""

from __future__ import annotations

import errno
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spac_theory.checks import InputError

STALE_AFTER = 3600.0  # seconds: a temporary of another machine that old has no writer any more
FULL = {errno.ENOSPC, errno.EDQUOT}
# What writers without an error number say of a full disk: safetensors, and torch (writing, closing).
FULL_WORDS = ("No space left on device", "inline_container.cc", "basic_ios::clear: iostream error")
CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}
MISPLACED = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOENT, errno.ENAMETOOLONG}


class StorageError(InputError):
    """The disk refused; its message is one sentence with the place and a remedy."""


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary neighbour of `path`, then rename it into place.

    Raises StorageError, one sentence, where the disk is full, closed or no place for a file; the
    half-written neighbour is removed.
    """
    temporary = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        os.replace(temporary, path)
    except BaseException as error:
        _remove(temporary)
        if isinstance(error, OSError):
            raise translate(error, str(path.parent)) from error
        raise


def make_folder(path: Path) -> None:
    """Make a folder and those above it; raises StorageError where the disk refuses."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise translate(error, str(path)) from error


def _remove(path: Path) -> None:
    """Take a file away if it is there and the disk lets us."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


def translate(error: Exception, place: str) -> Exception:
    """A disk that refuses as one sentence, whoever met it; any other error as it is."""
    number = getattr(error, "errno", None)
    if number in FULL or any(words in str(error) for words in FULL_WORDS):
        return StorageError(
            f"The disk that holds {place} is full; free some space and run the same command "
            "again, finished work is kept."
        )
    if number == errno.EFBIG:
        return StorageError(
            f"A file in {place} may not grow as large as it must; raise the limit (ulimit -f, or the file "
            "system's own) and run the same command again, finished work is kept."
        )
    if number in CLOSED:
        return StorageError(
            f"{place} cannot be written to; allow writing there, or name another place."
        )
    if number in MISPLACED:
        return StorageError(
            f"{place} cannot hold files (part of it is a file, or its name is too long); "
            "name another place."
        )
    return error


def remove_stale(folder: Path) -> None:
    """Remove temporaries under `folder` that no living process writes: what a kill leaves behind."""
    for path in folder.glob("**/.*.tmp"):
        if _stale(path):
            _remove(path)


def _stale(path: Path) -> bool:
    """Whether the writer named in a temporary is gone; that of another machine by its age."""
    *_, host, pid, _ = path.name.rsplit(".", 3)
    if host == platform.node().rsplit(".", 1)[-1] and pid.isdigit():
        return not lives(int(pid))
    try:
        return time.time() - path.stat().st_mtime > STALE_AFTER
    except OSError:
        return False


def lives(pid: int) -> bool:
    """Whether a process of that number runs here."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def write_json(path: Path, value: Any) -> None:
    """Write `value` as sorted, indented JSON."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))
