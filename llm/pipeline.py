"""The whole path, as stages of a run directory, for every method asked for.

prepare → sft → [sample → label → reference → train → evaluate] × T, where a round samples and labels
what the streams of its method ask for (:mod:`llm.stages.round`).

Every stage names, by hash, what it consumed; see :mod:`llm.stages.directory`. Nothing here knows Hydra.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from experiments.common.files import read_json
from llm.data.validate import told
from llm.files import processes
from llm.files.digests import model_digest
from llm.methods import Following, Method, identity
from llm.methods.drpo import Drpo
from llm.methods.kinds import Decoding
from llm.models.bundled import settled
from llm.models.load import load_model
from llm.settings import CYCLE, Settings, require_pins
from llm.stages import answer as iterates
from llm.stages import prepare as sources
from llm.stages import respond, search, sft
from llm.stages import value as evaluation
from llm.stages.decoded import spoken
from llm.stages.preflight import ask, judge
from llm.stages.round import Round
from llm.stages.workplace import Model, Note, Workplace, train_identity
from spac_theory.checks import InputError

SPENT = ("steps", "samples")  # so far; labels are in the report where there are any


class Pipeline(Workplace):
    """The stages of one run, each a method that does nothing if it is done already."""

    def __init__(self, settings: Settings, note: Note = print) -> None:
        require_pins(settings)
        super().__init__(replace(settings, model=settled(settings.model)), note)
        judge(self.s)

    def __call__(self) -> dict[str, list[dict[str, Any]]]:
        """Run everything; return the evaluation of every round of every method (and "sft")."""
        self.prepare()
        if not any((self.run.directory / name).exists() for name in self.s.methods):
            ask(self.s, self.rows[0], self.tokenizer)
        start = self.initial()
        results = {"sft": [self.evaluate("initial", [start], start)]}
        for name, method in self.s.methods.items():
            results[name] = self.method(name, method, start)
        return results

    def prepare(self) -> None:
        """Rows into token ids; nothing of the model is loaded, only its tokenizer."""
        made = self.responses() if self.s.data.sentiment is not None else None
        inputs = sources.identity(self.s.data, self.s.model, self.s.seed)
        if made is not None:
            inputs["responses"] = self.run.file_hash("responses", "responses")
        self.stage(
            "prepare",
            inputs,
            lambda f: self._prepare(f, made),
        )
        weighted = len({row.row_weight for row in self.rows}) > 1
        critics = [k for k, m in self.s.methods.items() if isinstance(m, Following)]
        if weighted and critics:
            raise InputError(
                f"methods.{critics[0]} trains a critic, which counts every pair once, and the rows have a "
                "column weight; leave the method out, or the column."
            )

    def _prepare(self, folder: Path, made: Path | None) -> dict[str, Any]:
        """The stage, and what became of the rows if some were lost or look strange."""
        found = sources.prepare(folder, self.s.data, self.s.model, self.s.seed, made)
        counts = read_json(folder / "report.json").get("counts", {})
        if counts and told(counts):
            self.note(f"  rows: {counts['kept']} of {counts['read']} kept ({told(counts)})")
        return found

    def responses(self) -> Path:
        """The model's own answers to the sentiment prompts, scored and labelled."""
        sentiment, s = self.s.data.sentiment, self.s
        assert sentiment is not None
        once = replace(s.generation, samples=1)
        inputs = respond.identity(sentiment, s.model, once, s.seed)
        out = self.stage(
            "responses",
            inputs,
            lambda f: respond.respond(f, sentiment, s.model, once, s.seed),
        )
        return self.run.directory / "responses" / str(out["responses"])

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
        if isinstance(method, Decoding):
            found, given = self.searched(name, method, start)
            return [self.evaluate(f"{name}/round-01", [start], start, given, found)]
        models, results, spent = [start], [], Counter[str]()
        for t in range(1, self.s.rounds + 1):
            this = Round(self, f"{name}/round-{t:02d}", method, list(models), t)
            done = this()
            models.append(done.model)
            spent += done.spent
            given = {**spent, "pairs": self.pairs_of(method)}
            report = self.evaluate(f"{name}/round-{t:02d}", models, start, given)
            more = {**done.notes, **this.terms(done.model), **{k: spent[k] for k in SPENT}}
            results.append({**report, **more})
        if processes.is_main():
            chosen = iterates.answer(self.s.iterate, [m.path for m in models], results)
            iterates.write_answer(self.run.directory, name, self.s.iterate, chosen)
        return results

    def pairs_of(self, method: Method) -> int:
        """How many of the data's labels a method reads: all or none; who won is one, even read alone."""
        return len(self.rows) if any(s.source == "data" for s in self.s.streams(method)) else 0

    def searched(
        self, name: str, method: Decoding, start: Model
    ) -> tuple[Decoding, dict[str, int]]:
        """The decoder as it is evaluated: with the system prompt that its search found, if it has one."""
        if not isinstance(method, Drpo):
            return method, {}
        s, language = self.s, evaluation.language_of(self.s)
        out = self.stage(
            f"{name}/round-01/search",
            {
                "method": identity(method),
                "models": [
                    model_digest(Path(name))
                    for name in (method.judge, method.proposer)
                    if Path(name).is_dir()
                ],
                "policy": start.weights,
                "rows": self.rows_hash,
                "generation": asdict(s.generation),
                "seed": s.seed,
            },
            lambda f: search.stage(
                f,
                method,
                search.queries_of(language, self.rows, self.tokenizer, s.seed),
                search.speaker(
                    lambda: load_model(start.path, s.model).eval(),
                    self.tokenizer,
                    method,
                    s.generation,
                    turned=spoken(self.tokenizer, self.rows[0].prompt)[1],
                ),
                language,
                s.seed,
            ),
        )
        given = {key: int(out[key]) for key in ("labels", "samples", "failures")}
        return search.found_by(method, str(out["prompt"])), given

    def evaluate(
        self,
        folder: str,
        models: list[Model],
        start: Model,
        given: dict[str, int] | None = None,
        method: Decoding | None = None,
    ) -> dict[str, Any]:
        """What the iterate is worth, decoded by `method`: exactly on a language, else on held-out rows."""
        spent = {name: count for name, count in (given or {}).items() if count}
        inputs: dict[str, Any] = {
            "policies": [m.weights for m in models],
            "rows": self.rows_hash,
            "given": spent,
            "judge": self.judge_identity if self.s.judge == CYCLE else None,
        }
        if method is not None:
            inputs["decoding"] = identity(method)
        if self.s.data.language is None:
            inputs |= {
                "evaluation": asdict(self.s.evaluation),
                "generation": asdict(self.s.generation),
                "seed": self.s.seed,
                "judge": self.judge_identity if self.s.judge else None,
            }
        paths = [m.path for m in models]
        out: dict[str, Any] = self.stage(
            f"{folder}/evaluate",
            inputs,
            lambda f: evaluation.evaluate(
                f, self.s, self.tokenizer, paths, start.path, spent, method
            ),
        )
        return out
