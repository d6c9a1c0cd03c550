"""The follower's part of a round: held-out fits once a method, a critic a round, rewards for the leader.

Its stages are those of :mod:`llm.stages.follow`; the policy's own are in :mod:`llm.stages.round`.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.common.files import read_json
from llm.data.row import Row
from llm.files.digests import read_rows
from llm.methods import Following, Stream, identity
from llm.models.heads import States
from llm.stages import follow, follow_head
from llm.stages.label import Labeller, label
from llm.stages.workplace import Model, train_identity

if TYPE_CHECKING:
    from llm.stages.round import Round


REPORTED = ("relative", "preference", "fit", "entropy", "distance", "game", "gain", "lam")


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
        return self.round.place.run.directory / self.home / stage

    def _critic(self, t: int) -> str:
        return f"round-{t:02d}/critic"

    @cached_property
    def _inputs(self) -> dict[str, Any]:
        """What every stage of the follower depends on."""
        place = self.round.place
        return {
            "rows": place.rows_hash,
            "method": identity(self.method),
            "train": train_identity(self.round.train_settings),
            "start": self.round.models[0].weights,
            "seed": place.s.seed,
        }

    @cached_property
    def states(self) -> States | None:
        """States of answers under `π_1`, where the critic is a head on them."""
        if self.method.critic().network == "whole":
            return None
        place, start = self.round.place, self.round.models[0]
        return States(
            self._path("states"),
            start.path,
            start.weights,
            place.s.model,
            place.tokenizer,
            place.s.reference_batch,
            self.round.train_settings.scoring,
        )

    def labeller(self, paths: list[str]) -> Labeller:
        """The sum of the rewards of saved critics."""
        place, bound = self.round.place, self.method.critic().bound
        if self.states is not None:
            return follow_head.HeadLabeller(paths, bound, self.states)
        s, tokens = place.s, self.round.train_settings.scoring
        pad_id = place.tokenizer.pad_token_id
        return follow.CriticLabeller(paths, bound, s.model, pad_id, s.reference_batch, tokens)

    def _fit_fold(self, folder: Path, number: int) -> dict[str, Any]:
        place, s = self.round.place, self.round.place.s
        if self.states is not None:
            return follow_head.fit_fold(
                folder, number, place.rows, self.method, self.states, s.seed
            )
        return follow.fit_fold(
            folder,
            number,
            place.rows,
            self.method,
            self.round.models[0].path,
            self.round.train_settings,
            s.model,
            place.tokenizer,
            s.seed,
        )

    def _answer(self, folder: Path, start: str, lam: float) -> dict[str, Any]:
        place, s = self.round.place, self.round.place.s
        if self.states is not None:
            return follow_head.answer(folder, self.rows(), self.method, lam, start, self.states)
        return follow.answer(
            folder,
            self.rows(),
            self.round.streams,
            self.method,
            lam,
            start,
            self.round.train_settings,
            s.model,
            place.tokenizer,
            s.reference_batch,
            s.seed + self.round.t,
        )

    def fits(self) -> None:
        """`r̂`, from one fit a fold."""
        place = self.round.place
        folds = [f"fit-{k}" for k in range(self.method.critic().folds)]
        for k, name in enumerate(folds):
            place.stage(f"{self.home}/{name}", self._inputs, partial(self._fit_fold, number=k))
        place.stage(
            f"{self.home}/fit",
            {"fits": [self.output(name)["weights"] for name in folds]},
            lambda f: follow.average(
                f, place.rows, self.labeller([str(self._path(name) / "model") for name in folds])
            ),
        )

    @property
    def lam(self) -> float:
        """`λ` of this round."""
        if self.round.t == 1:
            return self.method.first_lam(len(self.round.place.rows))
        return float(self.output(self._critic(self.round.t - 1))["next_lam"])

    def rows(self) -> list[Row]:
        """The training rows with own responses and the rewards of `r̂`."""
        records = [r.record() for r in self.round.rows_with(["sample-own/samples"])]
        for record, more in zip(records, read_rows(self._path("fit") / "fit.parquet"), strict=True):
            record |= more
        return [Row.of(record) for record in records]

    def critic(self) -> None:
        """`r_t`, from the critic of the last round (at first, one of the fits)."""
        place, lam = self.round.place, self.lam
        before = "fit-0" if self.round.t == 1 else self._critic(self.round.t - 1)
        place.stage(
            f"{self.round.folder}/critic",
            {
                **self._inputs,
                "fit": place.run.file_hash(f"{self.home}/fit", "fit"),
                "own": place.run.file_hash(f"{self.round.folder}/sample-own", "samples"),
                "from": self.output(before)["weights"],
                "lam": lam,
            },
            lambda f: self._answer(f, str(self._path(before) / "model"), lam),
        )

    def answer(self) -> dict[str, Any]:
        """The fits, then `r_t`; what its stage says of the policy it answers, `π_t`."""
        self.fits()
        self.critic()
        found = self.output(self._critic(self.round.t))
        if found["memorised"]:
            warnings.warn(
                f"The critic of {self.round.folder} has E_D = {found['preference']:.3f} on the training "
                f"pairs, below the {found['fit']:.3f} of the fit that held-out pairs stopped: it has learnt "
                "labels by heart, so use labels=softened, or raise critic_decay.",
                stacklevel=2,
            )
        return {f"critic_{name}": found[name] for name in REPORTED}

    def terms(self, iterates: list[Model]) -> dict[str, Any]:
        """What the mixture loses by term of theory (T3), on a language; else nothing."""
        from llm.stages.terms import measured

        place, t = self.round.place, self.round.t
        if place.s.data.language is None:
            return {}
        critics = [self._critic(s) for s in range(1, t + 1)]
        lams = [float(self.output(name)["lam"]) for name in critics]
        found: dict[str, Any] = place.stage(
            f"{self.round.folder}/terms",
            {
                **self._inputs,
                "fit": place.run.file_hash(f"{self.home}/fit", "fit"),
                "policies": [m.weights for m in iterates],
                "critics": [self.output(name)["weights"] for name in critics],
            },
            lambda f: measured(
                f,
                place.s,
                self.method,
                [m.path for m in iterates],
                [
                    (self._path(name), self.labeller([str(self._path(name) / "model")]))
                    for name in critics
                ],
                lams,
                self._path("fit") / "fit.parquet",
                place.tokenizer,
            ),
        )
        return {k: v for k, v in found.items() if k != "terms"}

    def steps(self) -> dict[str, int]:
        """Gradient steps of this round's critic, and at first of the fits; a head's solve is one."""
        stages = [self._critic(self.round.t)]
        if self.round.t == 1:
            stages += [f"fit-{k}" for k in range(self.method.critic().folds)]
        return {"steps": sum(int(self.output(name).get("steps", 1)) for name in stages)}

    def rewards(self, stream: Stream) -> None:
        """`Σ_{s≤t} r_s` of the responses of a stream, as their labels; no judge is asked."""
        place = self.round.place
        critics = [self._critic(t) for t in range(1, self.round.t + 1)]
        place.stage(
            f"{self.round.folder}/label-{stream.name}",
            {
                "samples": place.run.file_hash(
                    f"{self.round.folder}/sample-{stream.name}", "samples"
                ),
                "stream": asdict(stream),
                "critics": [self.output(name)["weights"] for name in critics],
            },
            lambda f: label(
                f,
                stream,
                self.round.rows_with([f"sample-{stream.name}/samples"]),
                lambda: self.labeller([str(self._path(name) / "model") for name in critics]),
                place.s.reference_batch,
                self.round.key(stream),
            ),
        )
