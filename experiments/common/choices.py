"""The sentence on a word that is none of those known, with the nearest that is."""

from __future__ import annotations

import difflib
from collections.abc import Collection

# Names that meant something else once: refused, never given to another thing.
RETIRED = {
    "spac_certified": "that name stood for Wilks' radius, which certifies nothing at finite n; choose "
    "'spac_wilks', or 'spac_certified_theorem' for the theorem's radius",
}

# Settings by their former names: refused with the name that one thing has in every program.
RENAMED = {
    "sizes": "n",
    "algorithms": "entries",
    "processes": "launcher.processes",
    "rows": "data",
}


def refusal(field: str, name: str, known: Collection[str]) -> str:
    """The sentence on a choice that is not among the known ones."""
    return f"{field} is {name!r}{near(name, known)}; it must be one of: {', '.join(known)}."


def near(name: str, known: Collection[str]) -> str:
    """` (did you mean …?)` where something known is spelt alike, else nothing."""
    if name in RETIRED:
        return f" ({RETIRED[name]})"
    renamed = RENAMED.get(name, "")
    if renamed and renamed.partition(".")[0] in known:
        return f" (its name is {renamed!r} now)"
    longer = [k for k in known if name and k.startswith(name)]
    found = difflib.get_close_matches(name, list(known), n=1) or longer
    return f" (did you mean {found[0]!r}?)" if found else ""
