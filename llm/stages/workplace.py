"""What all stages of a run share: its settings, its directory, its rows, its tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from llm.data.row import Row, read_native
from llm.files.digests import file_digest, model_digest
from llm.files.failures import Stopped
from llm.models.load import load_tokenizer
from llm.settings import CYCLE, LANGUAGE, Settings
from llm.stages.directory import Run
from spac_theory.checks import InputError

Note = Callable[[str], None]


@dataclass(frozen=True)
class Model:
    """A model on disk and the hash of its weights."""

    path: str
    weights: Any


class Workplace:
    """A run directory with the settings of the run; `note` is told the name of every stage it does."""

    def __init__(self, settings: Settings, note: Note) -> None:
        self.s, self.note = settings, note
        self.run = Run(Path(settings.run_dir))
        self.seen = False  # whether a stage that was asked for is done

    def stage(self, name: str, inputs: dict[str, Any], work: Callable[[Path], Any]) -> Any:
        """One stage of the run, unless the configuration's `stages` leaves its kind out."""
        kind = name.rsplit("/", 1)[-1].partition("-")[0]
        done = (self.run.directory / name / "stage.json").exists()
        wanted = self.s.stages is None or kind in self.s.stages
        if not done:
            if not wanted:
                self._stop(name, kind)
            self.note(name)
        self.seen |= wanted
        return self.run.stage(name, inputs, work)

    def _stop(self, name: str, kind: str) -> None:
        """End this call before a stage that it was not asked for; refuse if it had nothing to do."""
        asked = ",".join(self.s.stages or [])
        if not self.seen:
            raise InputError(
                f"stages is {asked} and nothing of it can be done yet: the next stage is {name}; run "
                f"with stages=[{kind}] first."
            )
        raise Stopped(
            f"Done: {asked}. The next stage is {name}; run again with stages=[{kind}] (and the launcher "
            "it needs) to go on."
        )

    @cached_property
    def rows(self) -> list[Row]:
        """The training rows, if they are those that `prepare` wrote."""
        self.run.file_hash("prepare", "rows")
        return read_native(self.run.directory / "prepare" / "rows.parquet")

    @cached_property
    def rows_hash(self) -> str:
        """The hash of the training rows."""
        return self.run.file_hash("prepare", "rows")

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer every stage uses, stored by `prepare` with its chat template."""
        return load_tokenizer(str(self.run.directory / "prepare" / "tokenizer"))

    @cached_property
    def judge_identity(self) -> dict[str, Any]:
        """What labels depend on: the judge's name, and the language, weights or source behind it."""
        name = self.s.judge or ""
        if name in (LANGUAGE, CYCLE):
            assert self.s.data.language is not None
            language = self.s.data.language
            return {"name": language.name, "scale": language.scale, "judge": name}
        if Path(name).is_dir():
            rubric = Path(name) / "rubric.txt"
            read = file_digest(rubric) if rubric.is_file() else None
            found = {"name": Path(name).name, "weights": model_digest(Path(name))}
            return found | ({"rubric": read} if read else {})
        source = Path(name.partition(":")[0].replace(".", "/") + ".py")
        return {"name": name, "source": file_digest(source) if source.is_file() else None}


def train_identity(train: Any) -> dict[str, Any]:
    """Training settings that can change the result (where metrics are sent cannot)."""
    values = asdict(train)
    for name in ("report_to", "log_every"):
        values.pop(name)
    return values
