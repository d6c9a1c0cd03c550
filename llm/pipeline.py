"""The whole path, as stages of a run directory, for every method asked for.

prepare → sft → [self-play → reference → train → evaluate] × T.

Every stage names, by hash, what it consumed; see :mod:`llm.stages.directory`. Nothing here knows Hydra.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from llm.files import processes
from llm.files.digests import Rows, read_rows, tokenizer_digest
from llm.models.load import load_model, load_tokenizer
from llm.settings import Method, Settings, require_pins
from llm.stages import answer as iterates
from llm.stages import prepare as sources
from llm.stages import sft
from llm.stages import value as evaluation
from llm.stages.directory import Run
from llm.stages.reference import reference
from llm.stages.sample import ENGINES, generate
from llm.training.settings import fit
from spac_theory.checks import InputError

Note = Callable[[str], None]


@dataclass(frozen=True)
class Model:
    """A model on disk and the hash of its weights."""

    path: str
    weights: Any


class Pipeline:
    """The stages of one run, each a method that does nothing if it is done already."""

    def __init__(self, settings: Settings, note: Note = print) -> None:
        require_pins(settings)
        self.s = settings
        self.run = Run(Path(settings.run_dir))
        self.note = note

    def __call__(self) -> dict[str, list[dict[str, Any]]]:
        """Run everything; return the evaluation of every round of every method (and "sft")."""
        self.prepare()
        start = self.initial()
        results = {"sft": [self.evaluate("initial", [start], start)]}
        for name, method in self.s.methods.items():
            results[name] = self.method(name, method, start)
        return results

    def stage(self, name: str, inputs: dict[str, Any], work: Callable[[Path], Any]) -> Any:
        """One stage of the run, unless the configuration's `stages` leaves its kind out."""
        kind = name.rsplit("/", 1)[-1]
        done = (self.run.directory / name / "stage.json").exists()
        if not done:
            if self.s.stages is not None and kind not in self.s.stages:
                raise Stopped(
                    f"The next stage is {name}, and stages is {','.join(self.s.stages)}; run again "
                    f"with stages=[{kind}] (and the launcher it needs) to go on."
                )
            self.note(name)
        return self.run.stage(name, inputs, work)

    def prepare(self) -> None:
        """Rows into token ids; nothing of the model is loaded, only its tokenizer."""
        inputs = sources.identity(self.s.data, self.s.model, self.s.seed)
        self.stage(
            "prepare", inputs, lambda f: sources.prepare(f, self.s.data, self.s.model, self.s.seed)
        )

    @cached_property
    def rows(self) -> Rows:
        """The training rows."""
        return read_rows(self.run.directory / "prepare" / "rows.parquet")

    @cached_property
    def rows_hash(self) -> str:
        """The hash of the training rows."""
        return self.run.file_hash("prepare", "rows")

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer every stage uses, stored by `prepare` with its chat template."""
        return load_tokenizer(str(self.run.directory / "prepare" / "tokenizer"))

    def initial(self) -> Model:
        """`π_1`: the base model, after supervised fine-tuning where the configuration has it."""
        if self.s.sft is None:
            return Model(self.s.model.name, self.s.model.identity)
        inputs = {
            "rows": self.rows_hash,
            "demonstrations": self.run.file_hash("prepare", "demonstrations"),
            "model": asdict(self.s.model),
            "train": _identity(self.s.sft),
            "seed": self.s.seed,
        }
        out = self.stage("sft", inputs, lambda f: sft.sft(f, self.s, self.tokenizer))
        return Model(str(self.run.directory / "sft" / out["model"]), out["weights"])

    def method(self, name: str, method: Method, start: Model) -> list[dict[str, Any]]:
        """`T` rounds of one method from `start`; the evaluation of each iterate."""
        models, results = [start], []
        for t in range(1, self.s.rounds + 1):
            models.append(self.round(f"{name}/round-{t:02d}", method, models[-1], start))
            results.append(self.evaluate(f"{name}/round-{t:02d}", models, start))
        if processes.is_main():
            chosen = iterates.answer(self.s.iterate, [m.path for m in models], results)
            iterates.write_answer(self.run.directory, name, self.s.iterate, chosen)
        return results

    def round(self, folder: str, method: Method, current: Model, start: Model) -> Model:
        """One round from `current`: self-play, reference pass, training; the next iterate."""
        selfplay = None
        if method.objective.uses_selfplay:
            self.selfplay(folder, current)
            selfplay = f"{folder}/selfplay"
        anchor = current if method.reference == "previous" else start
        self.reference(folder, anchor, selfplay)
        return self.train(folder, method, current)

    def selfplay(self, folder: str, current: Model) -> None:
        """Draw `y' ~ π_t`."""
        s = self.s.generation
        inputs = {
            "rows": self.rows_hash,
            "tokenizer": tokenizer_digest(self.tokenizer),
            "policy": current.weights,
            "generation": asdict(s),
            "seed": self.s.seed,
        }
        key = f"{self.s.seed}/{folder}"
        self.stage(
            f"{folder}/selfplay",
            inputs,
            lambda f: generate(
                f,
                self.rows,
                lambda: ENGINES[s.engine](current.path, self.s.model, self.tokenizer, s),
                s,
                self.tokenizer.eos_token_id,
                key,
            ),
        )

    def reference(self, folder: str, anchor: Model, selfplay: str | None) -> None:
        """Log-probs of all streams under the reference policy."""
        path = self.run.directory / (selfplay or "") / "selfplay.parquet"
        inputs = {
            "rows": self.rows_hash,
            "selfplay": self.run.file_hash(selfplay, "selfplay") if selfplay else None,
            "policy": anchor.weights,
            "batch": self.s.reference_batch,
        }
        self.stage(
            f"{folder}/reference",
            inputs,
            lambda f: reference(
                f,
                self.rows,
                read_rows(path) if selfplay else None,
                anchor.path,
                self.s.model,
                self.tokenizer.pad_token_id,
                self.s.reference_batch,
            ),
        )

    def train(self, folder: str, method: Method, current: Model) -> Model:
        """Minimise theory (9) or (10) from the current iterate."""
        streams = self.run.directory / folder / "reference" / "streams.parquet"
        inputs = {
            "streams": self.run.file_hash(f"{folder}/reference", "streams"),
            "policy": current.weights,
            "objective": asdict(method.objective),
            "train": _identity(self.s.train),
            "seed": self.s.seed,
        }

        def work(target: Path) -> dict[str, Any]:
            from llm.training.assembly import preference_trainer

            trainer = preference_trainer(
                load_model(current.path, self.s.model, trainable=True),
                read_rows(streams),
                method.objective,
                self.s.train,
                self.s.model,
                target,
                self.tokenizer,
                self.s.seed,
            )
            return fit(trainer, target, self.tokenizer, self.s.train.ema)

        out = self.stage(f"{folder}/train", inputs, work)
        return Model(str(self.run.directory / folder / "train" / out["model"]), out["weights"])

    def evaluate(self, folder: str, models: list[Model], start: Model) -> dict[str, Any]:
        """What the iterate is worth: exactly on a language, on held-out pairs otherwise."""
        inputs = {"policies": [m.weights for m in models], "rows": self.rows_hash}
        paths = [m.path for m in models]
        out: dict[str, Any] = self.stage(
            f"{folder}/evaluate",
            inputs,
            lambda f: evaluation.evaluate(f, self.s, self.tokenizer, paths, start.path),
        )
        return out


class Stopped(InputError):
    """The stages asked for are done; the next one was not asked for."""


def _identity(train: Any) -> dict[str, Any]:
    """Training settings that can change the result (where metrics are sent cannot)."""
    values = asdict(train)
    for name in ("report_to", "log_every"):
        values.pop(name)
    return values
