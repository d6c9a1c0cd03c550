"""The sentence on a word that is none of those known, with the nearest that is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# Names that meant something else once: refused, never given to another thing.
RETIRED = {
    "spac_certified": "that name stood for Wilks' radius, which certifies nothing at finite n; choose "
    "'spac_wilks', or 'spac_certified_theorem' for the theorem's radius",
}


def refusal(field: str, name: str, known: Iterable[str]) -> str:
    """The sentence on a choice that is not among the known ones."""
    return f"{field} is {name!r}{near(name, known)}; it must be one of: {', '.join(known)}."


def near(name: str, known: Iterable[str]) -> str:
    """` (did you mean …?)` where something known is spelt alike, else nothing."""
    if name in RETIRED:
        return f" ({RETIRED[name]})"
    found = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""
