"""Raw rows of a file, each with the line or row it stands on, counted from 1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spac_theory.checks import InputError

Numbered = list[tuple[str, Any]]  # ("line 3", row)


def read_lines(field: str, path: Path) -> Numbered:
    r"""The rows of a `.jsonl`, `.json` or `.parquet` file; `field` names the setting in a refusal.

    Lines end where bytes say `\n`: a line separator of Unicode inside a text is no end. Raises
    InputError, one sentence with the line, for what is no such file, no UTF-8 or no JSON.
    """
    if not path.is_file():
        raise InputError(f"{field} is {str(path)!r}; no such file exists.")
    if path.suffix == ".parquet":
        return _parquet(field, path)
    if path.suffix == ".json":
        return _list(field, path)
    if path.suffix != ".jsonl":
        raise InputError(f"{field} is {str(path)!r}; it must end in .jsonl, .json or .parquet.")
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    found = enumerate(content.split(b"\n"), start=1)
    return [(f"line {i}", _object(path.name, i, line)) for i, line in found if line.strip()]


def _parquet(field: str, path: Path) -> Numbered:
    from llm.files.digests import read_rows

    try:
        rows = read_rows(path)
    except (ValueError, OSError, NotImplementedError, TypeError) as error:
        told = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"{field} {str(path)!r} cannot be read as Parquet: {told}.") from error
    return [(f"row {i}", row) for i, row in enumerate(rows, start=1)]


def _list(field: str, path: Path) -> Numbered:
    """One JSON list of rows."""
    try:
        rows = json.loads(path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{field} {str(path)!r} cannot be read as JSON: {error}.") from error
    if not isinstance(rows, list):
        raise InputError(
            f"{field} is {str(path)!r}, which holds a {type(rows).__name__}; a .json file must be one list "
            "of rows (a row a line is .jsonl)."
        )
    return [(f"row {i}", row) for i, row in enumerate(rows, start=1)]


def _object(name: str, number: int, line: bytes) -> Any:
    try:
        row = json.loads(line.decode("utf-8"))
        json.dumps(row, ensure_ascii=False).encode()  # half of a surrogate pair is no text
        return row
    except UnicodeEncodeError as error:
        raise InputError(
            f"{name} line {number} holds half of a surrogate pair ({error.object[error.start]!r}), which no "
            "file can be written with; remove it."
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name} line {number} is not UTF-8 (byte 0x{line[error.start]:02x} in column "
            f"{error.start + 1}); convert the file, for example with `iconv -f latin1 -t utf-8`."
        ) from error
    except json.JSONDecodeError as error:
        raise InputError(
            f"{name} line {number} is no JSON ({error.msg}, column {error.colno}); every "
            "line must be one JSON object."
        ) from error
    except RecursionError as error:
        raise InputError(f"{name} line {number} is nested too deeply for JSON.") from error
