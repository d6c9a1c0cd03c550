"""One round of a method: what its streams need, in order."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from llm.data.row import Row, read_native
from llm.files import processes
from llm.files.digests import digest, read_rows, tokenizer_digest
from llm.methods import Following, Method, Stream, identity
from llm.models.engines import ENGINES, Ends
from llm.models.load import is_adapter, load_model
from llm.stages.asking import Asker
from llm.stages.edit import edit, keys_of
from llm.stages.following import Follower
from llm.stages.reference import Shelf, reference
from llm.stages.reference import asked as anchors_asked
from llm.stages.sample import sample
from llm.stages.value import language_of
from llm.stages.workplace import Model, Workplace, train_identity
from llm.training.rollouts import frozen_names
from llm.training.settings import TrainSettings


@dataclass(frozen=True)
class Done:
    """What a round made: the next iterate, what its critic found, and what it spent.

    `spent` counts gradient `steps` (of all networks), `samples` drawn, `labels` asked for, and `failures`:
    rows whose labels nobody could read.
    """

    model: Model
    notes: dict[str, Any]
    spent: Counter[str]


@dataclass(frozen=True)
class Round:
    """One round of a method from `π_t`, the last of `models`: what the streams need, in order.

    Sampling for every stream drawn in the round, labels where a stream asks for them, the frozen
    policies' log-probs of all stored streams, training.
    """

    place: Workplace
    folder: str
    method: Method
    models: list[Model]
    t: int

    def __call__(self) -> Done:
        """Do what is not done yet."""
        sampled = [s for s in self.streams if s.sampled]
        for stream in sampled:
            self.sample(stream)
        follower = self.follower
        notes = follower.answer() if follower else {}
        spent = Counter(follower.steps() if follower else {})
        for stream in sampled:
            if follower and stream.labels == "critic":
                follower.rewards(stream)
            elif stream.labels:
                asked, unread = Asker(self).label(stream)
                spent["labels"] += asked * self._new(stream)
                spent["failures"] += unread * self._new(stream)
        self.reference(sampled)
        self.reference(sampled)
        model, more = self.train()
        spent["samples"] += self.drawn
        spent.update(more)
        return Done(model, notes, spent)

    @cached_property
    def follower(self) -> Follower | None:
        """The critics, where the method has them."""
        return Follower(self, self.method) if isinstance(self.method, Following) else None

    def terms(self, newest: Model) -> dict[str, Any]:
        """What a follower says of all iterates up to the newest, the round's own."""
        return self.follower.terms([*self.models, newest]) if self.follower else {}

    @property
    def drawn(self) -> int:
        """Responses that the stages of this round draw; training counts its own."""
        written = [s for s in self.streams if s.sampled and s.source != "edit"]
        return sum((s.count or 0) * self._new(s) for s in written) * len(self.place.rows)

    @cached_property
    def streams(self) -> tuple[Stream, ...]:
        """The streams of the method with their counts."""
        return self.place.s.streams(self.method)

    @cached_property
    def train_settings(self) -> TrainSettings:
        """How the method is optimised."""
        return self.place.s.training(self.method)

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
        return f"{self.place.s.seed}/{self.home(stream)}{whose}"

    def _new(self, stream: Stream) -> bool:
        """Whether this round is the one that samples a stream."""
        return stream.when == "round" or self.t == 1

    def home(self, stream: Stream | str) -> str:
        """The folder of the round that samples a stream."""
        if isinstance(stream, str):
            stream = next(s for s in self.streams if s.name == stream)
        first = str(Path(self.folder).parent / "round-01")
        return first if stream.when == "once" else self.folder

    def edit(self, stream: Stream) -> None:
        """Make the edits of one stream."""
        place = self.place
        inputs = {
            "rows": place.rows_hash,
            "tokenizer": tokenizer_digest(place.tokenizer),
            "of": stream.of,
            "levels": stream.count,
        }
        keys = keys_of(language_of(place.s))
        place.stage(
            f"{self.home(stream)}/sample-{stream.name}",
            inputs,
            lambda f: edit(f, stream, place.rows, place.tokenizer, keys),
        )

    def sample(self, stream: Stream) -> None:
        """Draw the responses of one stream, or edit those of another."""
        if stream.source == "edit":
            return self.edit(stream)
        place, writer = self.place, self.frozen(stream.source)
        s = replace(place.s.generation, samples=stream.count or 1)
        inputs = {
            "rows": place.rows_hash,
            "tokenizer": tokenizer_digest(place.tokenizer),
            "policy": writer.weights,
            "generation": asdict(s),
            "seed": place.s.seed,
        }
        place.stage(
            f"{self.home(stream)}/sample-{stream.name}",
            inputs,
            lambda f: sample(
                f,
                stream.name,
                place.rows,
                lambda: ENGINES[s.engine](writer.path, place.s.model, place.tokenizer, s),
                s,
                place.tokenizer.eos_token_id,
                self.key(stream),
            ),
        )

    def reference(self, sampled: list[Stream]) -> None:
        """Native rows: all stored streams, their labels, and `log π_a` under the frozen policies."""
        place = self.place
        files = [f"sample-{s.name}/samples" for s in sampled]
        files += [f"label-{s.name}/labels" for s in sampled if s.labels]
        asked = {name: self.frozen(name) for name in anchors_asked(self.streams)}
        inputs = {
            "rows": place.rows_hash,
            "streams": {name: self.hash_of(*name.split("/")) for name in files},
            "policies": {name: model.weights for name, model in asked.items()},
            "batch": place.s.reference_batch,
            "packing": self.train_settings.scoring,
        }
        place.stage(
            f"{self.folder}/reference",
            inputs,
            lambda f: self._referenced(f, files, {name: m.path for name, m in asked.items()}),
        )

    def _referenced(
        self, folder: Path, files: list[str], anchors: dict[str, str]
    ) -> dict[str, Any]:
        """The reference pass over the rows whose labels could be read."""
        place, rows = self.place, self.rows_with(files)
        kept = Asker(self).read(rows)
        return reference(
            folder,
            kept,
            self.streams,
            anchors,
            place.s.model,
            place.tokenizer.pad_token_id,
            place.s.reference_batch,
            self.train_settings.scoring,
            self.shelf() if len(kept) == len(rows) else None,  # it holds a line for every row
        )

    def shelf(self) -> Shelf:
        """Log-probs of the data's answers under `π_1`, shared by the methods and rounds of the run."""
        place, start, packing = self.place, self.models[0], self.train_settings.scoring
        told = (start.weights, place.rows_hash, place.s.reference_batch, packing)
        return Shelf(start.path, place.run.directory / "start" / digest(told))

    def train(self) -> tuple[Model, dict[str, int]]:
        """Minimise the method's loss from `π_t`; the steps, and what they drew and asked for."""
        place = self.place
        live = {name: self.frozen(name) for name in frozen_names(self.streams)}
        judged = any(s.labels for s in self.streams if s.when == "step")
        inputs = {
            "streams": self.hash_of("reference", "streams"),
            "policy": self.current.weights,
            "live": {name: model.weights for name, model in live.items()},
            "generation": asdict(place.s.generation) if live or self.method.slow() else None,
            "judge": place.judge_identity if judged else None,
            "method": identity(self.method),
            "train": train_identity(self.train_settings),
            "seed": place.s.seed,
        }
        out = place.stage(f"{self.folder}/train", inputs, lambda f: self._fit(f, live))
        spent = {name: int(out.get(name, 0)) for name in ("labels", "samples", "steps", "failures")}
        return Model(str(self._path("train") / out["model"]), out["weights"]), spent

    def _fit(self, target: Path, live: dict[str, Model]) -> dict[str, Any]:
        from llm.training.assembly import method_trainer
        from llm.training.fit import fit

        s, tokenizer = self.place.s, self.place.tokenizer
        rollouts = self._rollouts(live)
        trainer = method_trainer(
            load_model(self.current.path, s.model, trainable=True),
            read_native(self._path("reference") / "streams.parquet"),
            self.method,
            self.method.trained(self.streams),
            self.train_settings,
            s.model,
            target,
            tokenizer,
            s.seed,
            rollouts,
        )
        out = fit(trainer, target, tokenizer, self.train_settings.ema)
        return out | (rollouts.given.total() if rollouts else {})

    def _rollouts(self, live: dict[str, Model]) -> Any:
        from llm.training.rewriting import rewriting
        from llm.training.rollouts import Rollouts, adapter_off, copy_of

        s, tokenizer = self.place.s, self.place.tokenizer
        step = tuple(stream for stream in self.streams if stream.when == "step")
        if not step:
            return None

        def frozen(model: Model) -> Any:
            base = model.path == self.models[0].path and s.model.lora is not None
            if base and not is_adapter(model.path):
                return adapter_off()
            return copy_of(lambda: load_model(model.path, s.model))

        made = Rollouts(
            step,
            {name: frozen(model) for name, model in live.items()},
            s.generation,
            Ends(tokenizer.pad_token_id, tokenizer.eos_token_id),
            self.train_settings.logp_chunk,
            f"{s.seed}/{self.folder}/step",
            Asker(self).at_step(),
        )
        slow = self.method.slow()
        batch = self.train_settings.batch // processes.world()
        return made if slow is None else rewriting(made, slow, batch)

    def _at(self, stage: str) -> str:
        """The folder of a stage: of samples and labels, the one of the round that made them."""
        kind, _, stream = stage.partition("/")[0].partition("-")
        home = self.home(stream) if kind in ("sample", "label") else self.folder
        return f"{home}/{stage}"

    def _path(self, stage: str) -> Path:
        return self.place.run.directory / self._at(stage)

    def hash_of(self, stage: str, output: str) -> str:
        """The hash of what a stage of this method recorded, in the round that did it."""
        return self.place.run.file_hash(self._at(stage), output)

    def rows_with(self, files: list[str]) -> list[Row]:
        """The training rows with the columns of these files (one line a row, in their order)."""
        records = [row.record() for row in self.place.rows]
        for name in files:
            for record, more in zip(records, read_rows(self._path(f"{name}.parquet")), strict=True):
                record |= more
        return [Row.of(record) for record in records]
