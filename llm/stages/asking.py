"""The judge's part of a round: labels of a round's streams, labels at steps, and what nobody could read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm.data.row import Row
from llm.methods import Stream
from llm.methods.kinds import Eliciting
from llm.stages.elicit import elicit, states
from llm.stages.label import Labeller, label, make_labeller, readable
from llm.stages.value import language_of
from spac_theory.checks import InputError

if TYPE_CHECKING:
    from llm.stages.round import Round


@dataclass(frozen=True)
class Asker:
    """Asks the judge of the run for one round of a method."""

    round: Round

    def label(self, stream: Stream) -> tuple[int, int]:
        """Ask the judge about the responses of one stream; the labels it took, and rows it left unread."""
        place = self.round.place
        asked = [n for n in (stream.name, stream.against) if n in self._drawn]
        files = [f"sample-{name}/samples" for name in asked]
        inputs = {
            "samples": {name: self.round.hash_of(f"sample-{name}", "samples") for name in asked},
            "stream": asdict(stream),
            "judge": place.judge_identity,
            "seed": place.s.seed,
        }
        out = place.stage(
            f"{self.round.home(stream)}/label-{stream.name}",
            inputs | self._asking,
            lambda f: self._labelled(f, stream, self.round.rows_with(files)),
        )
        return int(out["count"]), int(out["failures"])

    @property
    def _asking(self) -> dict[str, Any]:
        """What labels depend on beside samples and judge."""
        if not isinstance(self.round.method, Eliciting):
            return {}
        return {
            "asking": asdict(self.round.method.elicitation()),
            "start": self.round.models[0].weights,
        }

    def _labelled(self, target: Path, stream: Stream, rows: list[Row]) -> dict[str, Any]:
        """The label stage of a stream: of every response or pair, or of what a method asks about."""
        s, key = self.round.place.s, self.round.key(stream)
        if not isinstance(self.round.method, Eliciting):
            return label(target, stream, rows, self.labeller, s.reference_batch, key)
        return elicit(
            target,
            stream,
            rows,
            self.round.method.elicitation(),
            lambda: states(
                self.round.models[0].path,
                s.model,
                self.round.place.tokenizer,
                rows,
                stream.name,
                s.reference_batch,
            ),
            self.labeller,
            key,
        )

    @property
    def _drawn(self) -> list[str]:
        """The streams that a stage of this round draws."""
        return [s.name for s in self.round.streams if s.sampled]

    def labeller(self) -> Labeller:
        """Who labels in this run."""
        s = self.round.place.s
        return make_labeller(s.judge or "", language_of(s), self.round.place.tokenizer)

    def at_step(self) -> Callable[[Sequence[Row], Stream, int], list[Any]]:
        """Answers for rows at a step, from a judge that is loaded when it is first asked."""
        live: list[Labeller] = []

        def answer(rows: Sequence[Row], stream: Stream, seed: int) -> list[Any]:
            if not live:
                live.append(self.labeller())
            if stream.labels == "score":
                return live[0].scores(rows, stream.name)
            return live[0].wins(rows, stream.name, seed, stream.against)

        return answer

    def read(self, rows: list[Row]) -> list[Row]:
        """The rows whose labels could be read."""
        found = [r for r in rows if readable([*r.score.values(), *r.wins.values()])]
        if not found:
            raise InputError(
                f"No label of {self.round.folder} could be read in the replies of the judge; name another "
                "judge, or write another rubric.txt beside it."
            )
        return found
