"""What can go wrong in the middle of a run and is nobody's bad input."""

from __future__ import annotations


class Diverged(RuntimeError):
    """Training met a number that is none; the message is one sentence."""


class Stopped(RuntimeError):
    """The stages asked for are done, and the next one was not asked for."""
