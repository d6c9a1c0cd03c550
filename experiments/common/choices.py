"""Words of the command line that choose a file of `conf/`, looked at before Hydra composes anything.

Hydra refuses an unknown `algorithm=[spack]` without saying what there is; this says it.
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import OverrideParseException

from experiments.common.program import BAD_INPUT, CONFIGURATION


def unknown_choice(words: list[str], root: Path = Path(CONFIGURATION)) -> str | None:
    """One sentence on the first `group=choice` that has no file in `root`; None if all have one.

    What Hydra itself will refuse, or what is no choice (flags, values, deletions), is left to it.
    """
    try:
        overrides = OverridesParser.create().parse_overrides(
            [word for word in words if "=" in word and not word.startswith("-")]
        )
    except OverrideParseException:
        return None
    for override in overrides:
        folder = root / override.get_key_element().lstrip("+~").split("@")[0]
        if not folder.is_dir():
            continue
        known = sorted(path.stem for path in folder.glob("*.yaml"))
        for name in _chosen(override):
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f" (did you mean {near[0]!r}?)" if near else ""
                return (
                    f"{override.key_or_group} is {name!r}{hint}; "
                    f"it must be one of: {', '.join(known)}."
                )
    return None


def _chosen(override: Override) -> list[str]:
    """The names that an override chooses, in every job of a multirun."""
    values = list(override.sweep_iterator()) if override.is_sweep_override() else [override.value()]
    flat = [name for value in values for name in (value if isinstance(value, list) else [value])]
    return [name for name in flat if isinstance(name, str)]


def refuse_unknown_choices() -> None:
    """End the program with that sentence and exit code 2 where the command line has such a word."""
    sentence = unknown_choice(sys.argv[1:])
    if sentence:
        print(sentence, file=sys.stderr)
        sys.exit(BAD_INPUT)
