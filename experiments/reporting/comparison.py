"""Two sources of one kind: what tells the second from the first."""

from __future__ import annotations

from experiments.reporting.html import element, wrap
from experiments.reporting.kinds.kind import Source
from experiments.reporting.sections import told_html
from experiments.reporting.sources import kind_of
from spac_theory.checks import InputError


def comparison(a: Source, b: Source) -> str:
    """The part of the page that compares two sources. Raises InputError where their kinds differ."""
    if a.kind != b.kind:
        raise InputError(
            f"{a.folder} is {kind_of(a).of} and {b.folder} is {kind_of(b).of}; compare two of one kind."
        )
    told = kind_of(a).compare(a, b)
    head = element("h2", f"{b.name} against {a.name}", id="compared")
    return wrap("section", head + told_html(told, "compared"), aria_labelledby="compared")
