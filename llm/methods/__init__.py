"""Methods: what is trained in a round, one file and one YAML each.

A method says which responses it reads (:class:`Stream`) and what it minimises on them
(:meth:`Method.loss`). The pipeline derives the round from the streams: it samples, labels, asks the
frozen policies for log-probs, and trains. Adding a method is adding `llm/methods/<name>.py` and
`conf/llm/methods/<name>.yaml`, or a file of one's own named in `plugins`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

from torch import Tensor

from experiments.common.configuration import read
from spac_theory.checks import InputError, choice, integer
from spac_theory.objective import expectation
from spac_theory.registry import Registry

METHODS: Registry[type[Method]] = Registry("method", "llm.methods")
Metrics = dict[str, Tensor]
SOURCES = ("data", "current", "initial")
TIMES = ("round", "step")
LABELS = ("score", "pairwise", "critic")


@dataclass(frozen=True)
class Stream:
    """Responses of one kind to every prompt.

    Attributes
    ----------
    name : what the loss calls them: "chosen", "rejected" (the data's), "own", …
    count : responses a prompt; None: `generation.samples`
    source : who wrote them: "data", the "current" iterate `π_t`, or the "initial" policy `π_1`
    when : sampled once a "round", or at every "step" (current: with the weights of that step)
    anchors : frozen policies whose `log π_a` the loss reads: "initial", "current" (`π_t`, the iterate
        at the start of the round), or a name of the method's own, see :meth:`Method.anchor`
    labels : None, "score" (a number a response) or "pairwise" (who beats whom), from the run's judge,
        or "critic" (a number a response, the sum of the method's own critics so far)
    """

    name: str
    count: int | None = None
    source: str = "current"
    when: str = "round"
    anchors: tuple[str, ...] = ()
    labels: str | None = None

    def __post_init__(self) -> None:
        choice("stream.source", self.source, SOURCES)
        choice("stream.when", self.when, TIMES)
        if self.labels is not None:
            choice("stream.labels", self.labels, LABELS)
        if self.source == "data" and (self.count, self.when) != (1, "round"):
            raise InputError(
                f"stream {self.name!r} is of the data with count {self.count} and when "
                f"{self.when!r}; a stream of the data has count 1 and when 'round'."
            )
        if self.when == "step" and self.labels is not None:
            raise InputError(
                f"stream {self.name!r} asks for labels at every step; labels are given once a "
                "round, so set when to 'round' or labels to None."
            )

    @property
    def sampled(self) -> bool:
        """Whether a stage of the round draws it."""
        return self.source != "data" and self.when == "round"


def data(*anchors: str) -> tuple[Stream, Stream]:
    """The two streams every preference row has, with the frozen policies asked about them."""
    return tuple(Stream(n, 1, "data", anchors=anchors) for n in ("chosen", "rejected"))  # type: ignore[return-value]


@dataclass(frozen=True)
class Batch:
    """Everything a loss may read, by stream: `B` rows, `K` responses a row.

    `logp`, `length` (tokens, EOS included), `score` and `anchor[a]` (`log π_a`) are `(B, K)`, `wins` is
    `(B, K, K)`. `weight (B, K)` is there where the responses enumerate a distribution; without it they
    are draws, and count `1/K` each.
    """

    logp: Mapping[str, Tensor]
    length: Mapping[str, Tensor]
    anchor: Mapping[str, Mapping[str, Tensor]]
    score: Mapping[str, Tensor] = field(default_factory=dict)
    wins: Mapping[str, Tensor] = field(default_factory=dict)
    weight: Mapping[str, Tensor] = field(default_factory=dict)

    def ratio(self, stream: str, anchor: str) -> Tensor:
        """`log π(y|x) − log π_a(y|x)`, `(B, K)`."""
        return self.logp[stream] - self.anchor[anchor][stream]

    def row(self, i: int) -> Batch:
        """Row `i` as a batch of its own."""

        def cut(table: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: values[i : i + 1] for name, values in table.items()}

        anchors = {name: cut(table) for name, table in self.anchor.items()}
        own = (cut(t) for t in (self.score, self.wins, self.weight))
        return Batch(cut(self.logp), cut(self.length), anchors, *own)

    def expect(self, stream: str, values: Tensor) -> Tensor:
        """The mean of `values (B, K)` over the responses of each row, `(B,)`."""
        return expectation(values, self.weight.get(stream))


@dataclass(frozen=True)
class Conditions:
    """What a method may need to know of a run before it starts."""

    language: bool
    judge: bool
    sharded: bool


@dataclass(frozen=True)
class Method(ABC):
    """One column of the comparison; subclasses are frozen dataclasses of options.

    `bandit` names the algorithm of `spac_theory` that the method is when a response is one token, with
    options; the conformance suite compares losses and gradients. `title` is for tables; `train` holds
    the fields of the run's train group that are this method's own, such as `learning_rate`.
    """

    bandit: ClassVar[tuple[str, dict[str, Any]] | None] = None
    title: str = field(default="", kw_only=True)
    train: dict[str, Any] = field(default_factory=dict, kw_only=True)

    @abstractmethod
    def streams(self) -> tuple[Stream, ...]:
        """The responses the loss reads, those of the data first."""

    @abstractmethod
    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """The mean loss over the rows, and numbers for the log."""

    def trained(self, streams: tuple[Stream, ...]) -> tuple[Stream, ...]:
        """Those of its streams that :meth:`loss` reads."""
        return streams

    def skip(self, conditions: Conditions) -> str | None:
        """Why the method cannot run under these conditions, as the end of a sentence; None: it can."""
        return None

    def anchor(self, name: str, t: int) -> int:
        """Which of `π_1, …, π_t` the frozen policy `name` is in round `t`, counted from 0."""
        places = {"initial": 0, "current": t - 1}
        return places[choice("stream.anchors", name, places)]


@dataclass(frozen=True)
class CriticSettings:
    """How the second network of a method is trained, where it differs from the policy.

    Attributes
    ----------
    network : "whole", a network of the policy's kind, all of it trained (its adapters under LoRA), or
        "head", a linear layer on the frozen states of `π_1`, solved to the end
    bound : rewards lie in `(−bound/2, bound/2)`, so `R = bound`
    folds : fits with held-out pairs that are averaged to `r̂`
    fit_epochs, fit_decay : the longest a fit may take, in passes over its pairs, and its weight decay
    epochs, decay : passes over the rows a round, and weight decay, of the follower
    rate : learning rate of both

    A head has no use for epochs and rate.
    """

    network: str
    bound: float
    folds: int
    fit_epochs: float
    fit_decay: float
    epochs: float
    decay: float
    rate: float


@dataclass(frozen=True)
class Following(Method):
    """A method with a follower: a critic, trained every round before the policy is.

    Its rewards reach :meth:`loss` as `score` of streams with the label "critic".
    """

    @abstractmethod
    def critic(self) -> CriticSettings:
        """The critic's settings."""

    @property
    @abstractmethod
    def step(self) -> float:
        """`η`, the step of the policies it stands for, `π_1 exp(η Σ r_s)`."""

    @property
    @abstractmethod
    def softened(self) -> bool:
        """Whether `E_D` is the mean over labels as the held-out fit has them, theory (11)."""

    def trained(self, streams: tuple[Stream, ...]) -> tuple[Stream, ...]:
        """The streams the policy is trained on: those of the data are the critic's."""
        return tuple(s for s in streams if s.source != "data")

    @abstractmethod
    def first_lam(self, n: int) -> float:
        """`λ` of the first round, from the number of pairs."""

    @abstractmethod
    def next_lam(self, lam: float, distance: float) -> float:
        """`λ` of the next round, from this round's and the distance `KL(r̂‖r_t)` of its critic."""

    @abstractmethod
    def critic_loss(self, rewards: Batch, lam: float) -> tuple[Tensor, Metrics]:
        """What the critic minimises: `rewards.logp` holds `r(x,y)`, `rewards.score` the fit `r̂`."""


def make_method(label: str, options: Mapping[str, Any]) -> Method:
    """The method that `{name: …, **options}` describes; without a name, `label` is the name.

    Raises InputError, naming `methods.<label>`, for unknown names, options and values.
    """
    if not isinstance(options, Mapping):
        raise InputError(f"methods.{label} is {options!r:.60}; it must be a mapping of options.")
    given = dict(options)
    name = str(given.pop("name", label))
    kind = METHODS[name]
    if not (
        isinstance(kind, type) and issubclass(kind, Method) and "__dataclass_fields__" in vars(kind)
    ):
        raise InputError(
            f"methods.{label}.name is {name!r}, which is registered but no dataclass derived from "
            "llm.methods.Method; make it one."
        )
    return read(kind, given, f"methods.{label}")


def name_of(method: Method) -> str:
    """The name a method is registered under."""
    return next(name for name in METHODS if METHODS[name] is type(method))


def identity(method: Method) -> dict[str, Any]:
    """What the trained weights depend on beside training settings: name and options, not the title."""
    options = {k: v for k, v in asdict(method).items() if k not in ("title", "train")}
    return {"name": name_of(method), **options}


def streams_of(method: Method, samples: int) -> tuple[Stream, ...]:
    """The streams with their counts filled in; refuses names used twice and counts below 1."""
    streams = tuple(
        replace(s, count=integer("stream.count", samples if s.count is None else s.count, low=1))
        for s in method.streams()
    )
    names = [s.name for s in streams]
    if len(set(names)) < len(names):
        raise InputError(f"{name_of(method)} has streams {names}; each needs a name of its own.")
    for stream in streams:
        for anchor in stream.anchors:
            method.anchor(anchor, 1)
    return streams


def reward_metrics(batch: Batch, chosen: Tensor, rejected: Tensor) -> Metrics:
    """The usual numbers (TRL's names) from implicit rewards `(B,)` of the data's two answers."""
    return {
        "rewards/chosen": chosen.mean(),
        "rewards/rejected": rejected.mean(),
        "rewards/margins": (chosen - rejected).mean(),
        "rewards/accuracies": (chosen > rejected).to(chosen.dtype).mean(),
        "logps/chosen": batch.logp["chosen"].mean(),
        "logps/rejected": batch.logp["rejected"].mean(),
    }
