"""Kinds of methods beside the plain one: slow copies, bought labels, decoders."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from llm.methods import Batch, Method, Metrics, Stream, name_of
from spac_theory.checks import InputError


@dataclass(frozen=True)
class Slow:
    """Copies of the weights that move at every step, and the queue of the pairs they make.

    Attributes
    ----------
    decay : of the average, moved before it writes
    refresh : steps between copies of the average to the opponent
    memory : steps whose pairs the queue holds
    segment, keep : tokens of a chosen response that are rewritten, and tokens that stay after them
    temperature, top_k, top_p : how they are written
    """

    decay: float
    refresh: int
    memory: int
    segment: int
    keep: int
    temperature: float
    top_k: int
    top_p: float


@dataclass(frozen=True)
class Elicitation:
    """How a budget of pairwise labels is spent, and what is made of the answers.

    Attributes
    ----------
    budget, rounds : labels in all, asked in this many batches
    members : plausible rewards, draws of the posterior, that disagree
    width : standard deviations below the mean of the lower bound
    dimension : principal axes of the start's states that rewards are linear in
    """

    budget: int
    rounds: int
    members: int
    width: float
    dimension: int


@dataclass(frozen=True)
class Eliciting(Method):
    """A method that starts without labels and asks for a budget of them, about its sampled stream."""

    @abstractmethod
    def elicitation(self) -> Elicitation:
        """How it asks."""


@dataclass(frozen=True)
class Decoding(Method):
    """A method that trains nothing: the start, shown other texts or decoded in another way."""

    def streams(self) -> tuple[Stream, ...]:
        """None."""
        return ()

    def loss(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """Refused: there is none."""
        raise InputError(f"{name_of(self)} trains nothing, so it has no loss.")

    @abstractmethod
    def texts(self, prompt: str) -> tuple[str, str | None]:
        """What the policy is shown for a prompt, and what it is shown a second time, beside it."""

    def law(self, told: Tensor, plain: Tensor | None) -> Tensor:
        """The law of the next token, `(..., V)`, from the logits after both texts."""
        return told.softmax(-1)
