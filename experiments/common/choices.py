"""Words of the command line that choose a file of `conf/`, looked at before Hydra composes anything.

Hydra refuses an unknown `algorithm=[spack]` without saying what there is; this says it.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Collection
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import OverrideParseException

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


def unknown_choice(words: list[str], root: Path) -> str | None:
    """One sentence on the first `group=choice` that has no file in `root`; None if all have one.

    Folders named by `--config-dir` count as well. What Hydra itself will refuse, or what is no choice
    (flags, values, deletions), is left to it.
    """
    try:
        overrides = OverridesParser.create().parse_overrides(
            [word for word in words if "=" in word and not word.startswith("-")]
        )
    except OverrideParseException:
        return None
    roots = [root, *_own_folders(words)]
    for override in overrides:
        group = override.get_key_element().lstrip("+~").split("@")[0]
        folders = [place / group for place in roots if (place / group).is_dir()]
        known = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
        for name in _chosen(override):
            if known and name not in known:
                return refusal(override.key_or_group, name, known)
    return None


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


def _own_folders(words: list[str]) -> list[Path]:
    """Folders of configuration that the user adds with `--config-dir`."""
    flags = ("--config-dir", "-cd")
    apart = [b for a, b in itertools.pairwise(words) if a in flags]
    joined = [word.partition("=")[2] for word in words if word.startswith("--config-dir=")]
    return [Path(word) for word in apart + joined]


def _chosen(override: Override) -> list[str]:
    """The names that an override chooses, in every job of a multirun."""
    values = list(override.sweep_iterator()) if override.is_sweep_override() else [override.value()]
    flat = [name for value in values for name in (value if isinstance(value, list) else [value])]
    if flat == [None]:
        return ["null"]
    return [name for name in flat if isinstance(name, str)]
