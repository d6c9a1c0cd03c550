"""The whole path, as stages of a run directory, for every method asked for.

prepare → sft → [sample → label → reference → train → evaluate] × T, where a round samples and labels
what the streams of its method ask for (:class:`Round`).

Every stage names, by hash, what it consumed; see :mod:`llm.stages.directory`. Nothing here knows Hydra.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from llm.data.row import Row, read_native
from llm.files import processes
from llm.files.digests import file_digest, model_digest, read_rows, tokenizer_digest
from llm.following import Follower
from llm.methods import Following, Method, Stream, identity
from llm.models.engines import ENGINES, Ends
from llm.models.load import is_adapter, load_model, load_tokenizer
from llm.settings import LANGUAGE, Settings, require_pins
from llm.stages import answer as iterates
from llm.stages import prepare as sources
from llm.stages import sft
from llm.stages import value as evaluation
from llm.stages.directory import Run
from llm.stages.label import label, make_labeller
from llm.stages.reference import asked as anchors_asked
from llm.stages.reference import reference
from llm.stages.sample import sample
from llm.stages.value import language_of
from llm.training.rollouts import frozen_names
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
        kind = name.rsplit("/", 1)[-1].partition("-")[0]
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
    def rows(self) -> list[Row]:
        """The training rows."""
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
        if name == LANGUAGE:
            assert self.s.data.language is not None
            language = self.s.data.language
            return {"name": language.name, "scale": language.scale, "judge": name}
        if Path(name).is_dir():
            return {"name": Path(name).name, "weights": model_digest(Path(name))}
        source = Path(name.partition(":")[0].replace(".", "/") + ".py")
        return {"name": name, "source": file_digest(source) if source.is_file() else None}

    def initial(self) -> Model:
        """`π_1`: the base model, after supervised fine-tuning where the configuration has it."""
        if self.s.sft is None:
            return Model(self.s.model.name, self.s.model.identity)
        inputs = {
            "rows": self.rows_hash,
            "demonstrations": self.run.file_hash("prepare", "demonstrations"),
            "model": asdict(self.s.model),
            "train": train_identity(self.s.sft),
            "seed": self.s.seed,
        }
        out = self.stage("sft", inputs, lambda f: sft.sft(f, self.s, self.tokenizer))
        return Model(str(self.run.directory / "sft" / out["model"]), out["weights"])

    def method(self, name: str, method: Method, start: Model) -> list[dict[str, Any]]:
        """`T` rounds of one method from `start`; the evaluation of each iterate."""
        models, results, labels = [start], [], 0
        for t in range(1, self.s.rounds + 1):
            done = Round(self, f"{name}/round-{t:02d}", method, models, t)()
            models.append(done.model)
            labels += done.labels
            results.append(self.evaluate(f"{name}/round-{t:02d}", models, start, labels))
        if processes.is_main():
            chosen = iterates.answer(self.s.iterate, [m.path for m in models], results)
            iterates.write_answer(self.run.directory, name, self.s.iterate, chosen)
        return results

    def evaluate(
        self, folder: str, models: list[Model], start: Model, labels: int = 0
    ) -> dict[str, Any]:
        """What the iterate is worth: exactly on a language, on held-out pairs otherwise."""
        inputs = {"policies": [m.weights for m in models], "rows": self.rows_hash, "labels": labels}
        paths = [m.path for m in models]
        out: dict[str, Any] = self.stage(
            f"{folder}/evaluate",
            inputs,
            lambda f: evaluation.evaluate(f, self.s, self.tokenizer, paths, start.path, labels),
        )
        return out


@dataclass(frozen=True)
class Done:
    """What a round made: the next iterate, and how many labels it spent."""

    model: Model
    labels: int


@dataclass(frozen=True)
class Round:
    """One round of a method from `π_t`, the last of `models`: what the streams need, in order.

    Sampling for every stream drawn in the round, labels where a stream asks for them, the frozen
    policies' log-probs of all stored streams, training.
    """

    pipeline: Pipeline
    folder: str
    method: Method
    models: list[Model]
    t: int

    def __call__(self) -> Done:
        """Do what is not done yet."""
        sampled = [s for s in self.streams if s.sampled]
        for stream in sampled:
            self.sample(stream)
        if isinstance(self.method, Following):
            follower = Follower(self, self.method)
            follower.fits()
            follower.critic()
        labels = sum(self.label(stream) for stream in sampled if stream.labels)
        self.reference(sampled)
        return Done(self.train(), labels)

    @cached_property
    def streams(self) -> tuple[Stream, ...]:
        """The streams of the method with their counts."""
        return self.pipeline.s.streams(self.method)

    @property
    def current(self) -> Model:
        """`π_t`."""
        return self.models[-1]

    def frozen(self, name: str) -> Model:
        """The iterate that the frozen policy `name` is in this round."""
        return self.models[self.method.anchor(name, self.t)]

    def key(self, stream: Stream) -> str:
        """What the draws of a stream depend on, beside their place: run, method, round, stream."""
        whose = "" if stream.name == "own" else f"/{stream.name}"
        return f"{self.pipeline.s.seed}/{self.folder}{whose}"

    def sample(self, stream: Stream) -> None:
        """Draw the responses of one stream."""
        pipe, writer = self.pipeline, self.frozen(stream.source)
        s = replace(pipe.s.generation, samples=stream.count or 1)
        inputs = {
            "rows": pipe.rows_hash,
            "tokenizer": tokenizer_digest(pipe.tokenizer),
            "policy": writer.weights,
            "generation": asdict(s),
            "seed": pipe.s.seed,
        }
        pipe.stage(
            f"{self.folder}/sample-{stream.name}",
            inputs,
            lambda f: sample(
                f,
                stream.name,
                pipe.rows,
                lambda: ENGINES[s.engine](writer.path, pipe.s.model, pipe.tokenizer, s),
                s,
                pipe.tokenizer.eos_token_id,
                self.key(stream),
            ),
        )

    def label(self, stream: Stream) -> int:
        """Ask the judge about the responses of one stream; how many labels that took."""
        if isinstance(self.method, Following) and stream.labels == "critic":
            return Follower(self, self.method).rewards(stream)
        pipe, judge = self.pipeline, self.pipeline.s.judge or ""
        inputs = {
            "samples": self._hash(f"sample-{stream.name}", "samples"),
            "stream": asdict(stream),
            "judge": pipe.judge_identity,
            "seed": pipe.s.seed,
        }
        out = pipe.stage(
            f"{self.folder}/label-{stream.name}",
            inputs,
            lambda f: label(
                f,
                stream,
                self.rows_with([f"sample-{stream.name}/samples"]),
                lambda: make_labeller(judge, language_of(pipe.s), pipe.tokenizer),
                pipe.s.reference_batch,
                self.key(stream),
            ),
        )
        return int(out["count"])

    def reference(self, sampled: list[Stream]) -> None:
        """Native rows: all stored streams, their labels, and `log π_a` under the frozen policies."""
        pipe = self.pipeline
        files = [f"sample-{s.name}/samples" for s in sampled]
        files += [f"label-{s.name}/labels" for s in sampled if s.labels]
        asked = {name: self.frozen(name) for name in anchors_asked(self.streams)}
        inputs = {
            "rows": pipe.rows_hash,
            "streams": {name: self._hash(*name.split("/")) for name in files},
            "policies": {name: model.weights for name, model in asked.items()},
            "batch": pipe.s.reference_batch,
        }
        pipe.stage(
            f"{self.folder}/reference",
            inputs,
            lambda f: reference(
                f,
                self.rows_with(files),
                self.streams,
                {name: model.path for name, model in asked.items()},
                pipe.s.model,
                pipe.tokenizer.pad_token_id,
                pipe.s.reference_batch,
            ),
        )

    def train(self) -> Model:
        """Minimise the method's loss from `π_t`."""
        pipe = self.pipeline
        live = {name: self.frozen(name) for name in frozen_names(self.streams)}
        inputs = {
            "streams": self._hash("reference", "streams"),
            "policy": self.current.weights,
            "live": {name: model.weights for name, model in live.items()},
            "generation": asdict(pipe.s.generation) if live else None,
            "method": identity(self.method),
            "train": train_identity(pipe.s.train),
            "seed": pipe.s.seed,
        }
        out = pipe.stage(f"{self.folder}/train", inputs, lambda f: self._fit(f, live))
        return Model(str(self._path("train") / out["model"]), out["weights"])

    def _fit(self, target: Path, live: dict[str, Model]) -> dict[str, Any]:
        from llm.training.assembly import method_trainer
        from llm.training.fit import fit

        s, tokenizer = self.pipeline.s, self.pipeline.tokenizer
        trainer = method_trainer(
            load_model(self.current.path, s.model, trainable=True),
            read_native(self._path("reference") / "streams.parquet"),
            self.method,
            self.method.trained(self.streams),
            s.train,
            s.model,
            target,
            tokenizer,
            s.seed,
            self._rollouts(live),
        )
        return fit(trainer, target, tokenizer, s.train.ema)

    def _rollouts(self, live: dict[str, Model]) -> Any:
        from llm.training.rollouts import Rollouts, adapter_off, copy_of

        s, tokenizer = self.pipeline.s, self.pipeline.tokenizer
        step = tuple(stream for stream in self.streams if stream.when == "step")
        if not step:
            return None

        def frozen(model: Model) -> Any:
            base = model.path == self.models[0].path and s.model.lora is not None
            if base and not is_adapter(model.path):
                return adapter_off()
            return copy_of(lambda: load_model(model.path, s.model))

        return Rollouts(
            step,
            {name: frozen(model) for name, model in live.items()},
            s.generation,
            Ends(tokenizer.pad_token_id, tokenizer.eos_token_id),
            s.train.logp_chunk,
            f"{s.seed}/{self.folder}/step",
        )

    def _path(self, stage: str) -> Path:
        return self.pipeline.run.directory / self.folder / stage

    def _hash(self, stage: str, output: str) -> str:
        return self.pipeline.run.file_hash(f"{self.folder}/{stage}", output)

    def rows_with(self, files: list[str]) -> list[Row]:
        """The training rows with the columns of these files (one line a row, in their order)."""
        records = [row.record() for row in self.pipeline.rows]
        for name in files:
            for record, more in zip(records, read_rows(self._path(f"{name}.parquet")), strict=True):
                record |= more
        return [Row.of(record) for record in records]


class Stopped(InputError):
    """The stages asked for are done; the next one was not asked for."""


def train_identity(train: Any) -> dict[str, Any]:
    """Training settings that can change the result (where metrics are sent cannot)."""
    values = asdict(train)
    for name in ("report_to", "log_every"):
        values.pop(name)
    return values
