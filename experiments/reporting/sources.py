"""The kinds of results that a page can hold, a file each in `kinds`, and which of them a folder is."""

from __future__ import annotations

from pathlib import Path

from experiments.reporting.kinds import claims, diagnosis, league, llm_chart, llm_run, study, sweep
from experiments.reporting.kinds.kind import Kind, Source
from spac_theory.checks import InputError

KINDS: dict[str, Kind] = {
    module.KIND.name: module.KIND
    for module in (llm_chart, llm_run, claims, diagnosis, league, sweep, study)
}


def read_source(place: str) -> Source:
    """Read one folder. Raises InputError, one sentence, where it holds no results."""
    folder = Path(place)
    if not folder.exists():
        raise InputError(f"DIR is {place!r}, which is not there; name a folder of results.")
    for kind in KINDS.values():
        source = kind.read(folder)
        if source is not None:
            return source
    raise InputError(
        f"{place} holds no results that a page can show; name {', '.join(k.of for k in KINDS.values())}."
    )


def kind_of(source: Source) -> Kind:
    """The kind that read a source."""
    return KINDS[source.kind]
