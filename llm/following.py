"""The follower's part of a round: held-out fits once a method, a critic a round, rewards for the leader.

Its stages are those of :mod:`llm.stages.follow`; the policy's own are in :mod:`llm.pipeline`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.common.files import read_json
from llm.data.row import Row
from llm.files.digests import read_rows
from llm.methods import Following, Stream, identity
from llm.stages import follow
from llm.stages.label import label

if TYPE_CHECKING:
    from llm.pipeline import Round


@dataclass(frozen=True)
class Follower:
    """The critics of one method up to the round it is in."""

    round: Round
    method: Following

    @property
    def home(self) -> str:
        """The method's folder."""
        return str(Path(self.round.folder).parent)

    def output(self, stage: str) -> dict[str, Any]:
        """What a finished stage of the method recorded."""
        found: dict[str, Any] = read_json(self._path(stage) / "stage.json")["outputs"]
        return found

    def _path(self, stage: str) -> Path:
        return self.round.pipeline.run.directory / self.home / stage

    def _critic(self, t: int) -> str:
        return f"round-{t:02d}/critic"

    @cached_property
    def _inputs(self) -> dict[str, Any]:
        """What every stage of the follower depends on."""
        from llm.pipeline import train_identity

        pipe = self.round.pipeline
        return {
            "rows": pipe.rows_hash,
            "method": identity(self.method),
            "train": train_identity(pipe.s.train),
            "start": self.round.models[0].weights,
            "seed": pipe.s.seed,
        }

    def fits(self) -> None:
        """`r̂`, from one fit a fold."""
        pipe, s = self.round.pipeline, self.round.pipeline.s
        folds = [f"fit-{k}" for k in range(self.method.critic().folds)]
        for k, name in enumerate(folds):
            pipe.stage(
                f"{self.home}/{name}",
                self._inputs,
                partial(
                    follow.fit_fold,
                    number=k,
                    rows=pipe.rows,
                    method=self.method,
                    start=self.round.models[0].path,
                    train=s.train,
                    model=s.model,
                    tokenizer=pipe.tokenizer,
                    seed=s.seed,
                ),
            )
        pipe.stage(
            f"{self.home}/fit",
            {"fits": [self.output(name)["weights"] for name in folds]},
            lambda f: follow.average(
                f,
                pipe.rows,
                [str(self._path(name) / "model") for name in folds],
                self.method.critic().bound,
                s.model,
                pipe.tokenizer.pad_token_id,
                s.reference_batch,
            ),
        )

    @property
    def lam(self) -> float:
        """`λ` of this round."""
        if self.round.t == 1:
            return self.method.first_lam(len(self.round.pipeline.rows))
        return float(self.output(self._critic(self.round.t - 1))["next_lam"])

    def rows(self) -> list[Row]:
        """The training rows with own responses and the rewards of `r̂`."""
        records = [r.record() for r in self.round.rows_with(["sample-own/samples"])]
        for record, more in zip(records, read_rows(self._path("fit") / "fit.parquet"), strict=True):
            record |= more
        return [Row.of(record) for record in records]

    def critic(self) -> None:
        """`r_t`, from the critic of the last round (at first, one of the fits)."""
        pipe, s, lam = self.round.pipeline, self.round.pipeline.s, self.lam
        before = "fit-0" if self.round.t == 1 else self._critic(self.round.t - 1)
        pipe.stage(
            f"{self.round.folder}/critic",
            {
                **self._inputs,
                "fit": pipe.run.file_hash(f"{self.home}/fit", "fit"),
                "own": pipe.run.file_hash(f"{self.round.folder}/sample-own", "samples"),
                "from": self.output(before)["weights"],
                "lam": lam,
            },
            lambda f: follow.answer(
                f,
                self.rows(),
                self.round.streams,
                self.method,
                lam,
                str(self._path(before) / "model"),
                s.train,
                s.model,
                pipe.tokenizer,
                s.reference_batch,
                s.seed + self.round.t,
            ),
        )

    def rewards(self, stream: Stream) -> int:
        """`Σ_{s≤t} r_s` of the responses of a stream, as their labels; no judge is asked."""
        pipe = self.round.pipeline
        critics = [self._critic(t) for t in range(1, self.round.t + 1)]
        pipe.stage(
            f"{self.round.folder}/label-{stream.name}",
            {
                "samples": pipe.run.file_hash(
                    f"{self.round.folder}/sample-{stream.name}", "samples"
                ),
                "stream": asdict(stream),
                "critics": [self.output(name)["weights"] for name in critics],
            },
            lambda f: label(
                f,
                stream,
                self.round.rows_with([f"sample-{stream.name}/samples"]),
                lambda: follow.CriticLabeller(
                    [str(self._path(name) / "model") for name in critics],
                    self.method.critic().bound,
                    pipe.s.model,
                    pipe.tokenizer.pad_token_id,
                    pipe.s.reference_batch,
                ),
                pipe.s.reference_batch,
                self.round.key(stream),
            ),
        )
        return 0
