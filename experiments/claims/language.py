"""What is claimed of the language-model path; it is imported only when a claim runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from experiments.claims import CLAIMS, Outcome


@CLAIMS.register("kills_change_nothing")
def kills_change_nothing(size: str) -> Outcome:
    """A killed run of the language-model pipeline, started again, ends as if nothing had happened.

    Killed by SIGKILL at random moments of every stage (prepare, fine-tuning, self-play, reference,
    training, evaluation), it has the same manifest and the same rows as an undisturbed run, and
    final losses equal to 1e-5.
    """
    from llm.killing import kill_and_compare

    with tempfile.TemporaryDirectory() as folder:
        outcome = kill_and_compare(Path(folder), kills=24 if size == "full" else 2, seed=0)
    return Outcome(outcome.holds, outcome.describe())
