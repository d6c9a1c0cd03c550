"""Actions that are strings over a small alphabet, in lexicographic order."""

from __future__ import annotations


def string_length(actions: int, symbols: int) -> int | None:
    """`L` with `symbols^L = actions`, or None."""
    length, size = 0, 1
    while size < actions:
        length, size = length + 1, size * symbols
    return length if size == actions else None
