"""Work cut into numbered parts: each part is one file, written when it is done, never made twice.

Parts are dealt out to the processes of a launch by number. A part's content depends on its number
alone, so interruption and the number of processes change nothing.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from llm.files import processes
from llm.files.digests import Rows, read_rows, write_rows


def pieces(total: int, size: int) -> list[range]:
    """`range(total)` cut into ranges of `size`."""
    return [range(start, min(start + size, total)) for start in range(0, total, size)]


def part_seed(*key: Any) -> int:
    """A seed below 2³¹ that depends on the whole key and nothing else."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:4]) >> 1


def make_parts(
    folder: Path, total: int, size: int, make: Callable[[int, range], Rows]
) -> Iterator[int]:
    """Write the missing parts of this process; yield the rows done after each part."""
    for number, rows in enumerate(pieces(total, size)):
        if number % processes.world() != processes.rank():
            continue
        path = _path(folder, number)
        if not path.exists():
            write_rows(path, make(number, rows))
        yield len(rows)


def join_parts(
    folder: Path,
    total: int,
    size: int,
    target: Path,
    arrange: Callable[[Rows], Rows] = lambda rows: rows,
) -> None:
    """Once every process is done, join all parts into `target`, as `arrange` has them, and remove them."""
    processes.barrier()
    if not processes.is_main() or target.exists():
        return
    parts = [read_rows(_path(folder, number)) for number in range(len(pieces(total, size)))]
    write_rows(target, arrange([row for part in parts for row in part]))
    shutil.rmtree(folder)


def _path(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05d}.parquet"
