"""Controlled sentiment: a real model, and a reward that is known (arXiv 2305.18290, section 6.1).

A prompt is the beginning of a short review; a response is how a language model goes on. The true
reward is the compound score of VADER (Hutto and Gilbert, 2014), a public lexicon with rules, on
beginning and response together: a number in `[−1, 1]`, computed in microseconds, with no network. Where
the paper draws from a model fine-tuned on film reviews and scores with a classifier, everything here is
at hand offline.

The behaviour policy is a mixture with a dial: `μ = (1 − c) π_1(·|x) + c π_1(·|hint, x)`, where the
hint is a line of praise put before the beginning. `c` is `coverage`: how often the data show good
responses. Both responses of a pair are i.i.d. from `μ`; the label follows Bradley–Terry at
`scale · r*`.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from spac_theory.checks import integer, number

SUBJECTS = (
    "the film", "the hotel", "the new restaurant", "the concert", "the museum", "my new phone",
    "the train journey", "the book club", "the guided tour", "the market", "the coffee machine",
    "the campsite", "the cooking class", "the city bus", "the language course", "the bookshop",
    "the pair of shoes", "the laptop", "the dentist", "the ferry", "the apartment", "the bakery",
    "the documentary", "the winter coat", "the bicycle", "the gym", "the garden centre",
    "the podcast", "the board game", "the hairdresser",
)  # fmt: skip
# Subjects that no training prompt speaks of.
HELD_OUT = (
    "the airline", "the theatre", "the camera", "the swimming pool", "the tea house", "the car",
    "the exhibition", "the sofa", "the repair service", "the photo shop",
)  # fmt: skip
OPENINGS = (
    "Yesterday we tried {} and it was",
    "Here is what I think of {}:",
    "After a week I have to say that {} is",
    "My sister told me about {}. She said",
    "In short, {} was",
    "I wrote this review of {} because",
    "When people ask me about {}, I tell them it is",
    "We talked about {} all evening. It was",
    "The staff told us about {} and I found it",
    "Looking back, {} has been",
)
HINT = "A rave review, delighted and full of warm praise.\n"


@dataclass(frozen=True)
class SentimentSettings:
    """How many pairs, from which mixture, labelled how sharply; `test_pairs` are held out."""

    pairs: int
    test_pairs: int
    coverage: float
    scale: float

    def __post_init__(self) -> None:
        integer("data.sentiment.pairs", self.pairs, low=1)
        most = len(prompts(HELD_OUT))
        integer("data.sentiment.test_pairs", self.test_pairs, low=2, high=most)
        number("data.sentiment.coverage", self.coverage, low=0, high=1)
        number("data.sentiment.scale", self.scale, low=0, open_low=True)


def prompts(subjects: Sequence[str]) -> list[str]:
    """Every opening with every subject."""
    return [frame.format(name) for name, frame in itertools.product(subjects, OPENINGS)]


def asked(subjects: Sequence[str], count: int, seed: int) -> list[str]:
    """`count` prompts: all of them in a random order, again and again until there are enough."""
    order = random.Random(f"sentiment/{seed}/{subjects[0]}")
    drawn: list[str] = []
    while len(drawn) < count:
        drawn += order.sample(prompts(subjects), len(prompts(subjects)))
    return drawn[:count]


@cache
def _lexicon() -> Any:
    from llm.models.load import need

    need("vaderSentiment", "data.sentiment")
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()


def score(asked: Sequence[str], answers: Sequence[str]) -> list[float]:
    """`r*(x, y)` in `[−1, 1]` of every prompt with its answer; also a judge for `llm.evaluate`."""
    lexicon = _lexicon()
    pairs = zip(asked, answers, strict=True)
    return [float(lexicon.polarity_scores(x + y)["compound"]) for x, y in pairs]
