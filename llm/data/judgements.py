"""One raw row as judgements: which of two answers to a prompt was preferred, and how surely.

| form | columns |
|---|---|
| pair | `prompt`, `chosen`, `rejected` as in :mod:`llm.data.formats`; scores of both, or `margin`, if any |
| two sides | `prompt`, `answer_a`, `answer_b`, `winner` ("a", "b" or "tie") |
| several | `prompt`, `answers` with `ratings` (high is good) or `ranks` (1 is best), or rated answers |

`tie` (true or false), `count` (how many annotators said so) and `candidates` (further answers that
nobody judged, such as samples of a model) may stand in any row.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from llm.data.formats import Prompt, normalise
from spac_theory.checks import InputError, choice, number

# Our names, and what else the ecosystem calls them.
NAMES: dict[str, tuple[str, ...]] = {
    "context": (),  # context and loser are columns of logs of triples alone
    "loser": (),
    "prompt": ("prompt", "question", "instruction", "input"),
    "chosen": ("chosen",),
    "rejected": ("rejected",),
    "score_chosen": ("score_chosen", "chosen_score", "chosen_rating", "rating_chosen"),
    "score_rejected": ("score_rejected", "rejected_score", "rejected_rating", "rating_rejected"),
    "margin": ("margin",),
    "answer_a": ("answer_a", "response_a", "conversation_a"),
    "answer_b": ("answer_b", "response_b", "conversation_b"),
    "winner": ("winner", "label", "preference"),
    "answers": ("answers", "responses", "completions"),
    "ratings": ("ratings", "scores"),
    "ranks": ("ranks", "ranking"),
    "candidates": ("candidates", "samples"),
    "tie": ("tie",),
    "count": ("count",),
    "annotator": ("annotator", "judge", "user"),
    "source": ("source", "dataset"),
}
SIDES = {"a": 1.0, "model_a": 1.0, "b": 0.0, "model_b": 0.0}
TEXTS, RATES = ("text", "content", "response", "answer"), ("rating", "score", "overall_score")


@dataclass(frozen=True)
class Reading:
    """How rows are read.

    Attributes
    ----------
    columns : our name of a column to the file's own; null for the usual names
    ties : "half" (half a win each way), "drop" or "refuse"
    labels : "hard" (the better one wins), or "soft": `P(a ≻ b) = σ((rating_a − rating_b)/scale)`
    scale : of the soft labels, in units of the ratings
    pairs : of several rated answers, "disjoint" ones (first and second, third and fourth, …: no two share a
        rating, so they are independent) or "all"
    duplicates : rows that repeat another word for word: "drop" or "keep"
    """

    columns: dict[str, str | None] = field(default_factory=dict)
    ties: str = "half"
    labels: str = "hard"
    scale: float = 1.0
    pairs: str = "disjoint"
    duplicates: str = "drop"

    def __post_init__(self) -> None:
        choice("reading.ties", self.ties, ("half", "drop", "refuse"))
        choice("reading.labels", self.labels, ("hard", "soft"))
        choice("reading.pairs", self.pairs, ("disjoint", "all"))
        choice("reading.duplicates", self.duplicates, ("drop", "keep"))
        number("reading.scale", self.scale, low=0, open_low=True)
        for name in self.columns:
            choice("reading.columns", name, NAMES)

    @property
    def mapped(self) -> dict[str, str]:
        """The columns that the user names."""
        return {ours: theirs for ours, theirs in self.columns.items() if theirs is not None}


@dataclass(frozen=True)
class Judgement:
    """`share` of a win for `first` over `second` at `prompt`, `count` times."""

    prompt: Prompt
    first: str
    second: str
    share: float
    count: int
    annotator: str
    source: str
    place: str
    candidates: tuple[str, ...] = ()


def judgements(row: Any, place: str, reading: Reading) -> Iterator[Judgement]:
    """The judgements of one row. Raises InputError, one sentence that begins with its place."""
    if not isinstance(row, dict):
        raise InputError(f"{_at(place)} is {row!r:.60}; it must be an object with named fields.")
    given = _named(row, place, reading.mapped)
    prompt, pairs = _pairs(given, place, reading)
    tied, count, others = _flag(given, place), _count(given, place), _others(given, place)
    for first, second, share in pairs:
        yield Judgement(
            prompt,
            first,
            second,
            0.5 if tied else share,
            count,
            str(given.get("annotator", "")),
            str(given.get("source", "")),
            place,
            others,
        )
        others = ()


def _at(place: str) -> str:
    return place[:1].upper() + place[1:]


def _named(row: Mapping[str, Any], place: str, columns: Mapping[str, str]) -> dict[str, Any]:
    """The row under our names; what is null counts as absent."""
    found = {}
    for ours, theirs in NAMES.items():
        names = (columns[ours],) if ours in columns else theirs
        if ours in columns and columns[ours] not in row:
            raise InputError(
                f"{_at(place)} has no column {columns[ours]!r}, which reading.columns names for {ours}; "
                f"it has: {', '.join(map(str, row))}."
            )
        value = next((row[n] for n in names if row.get(n) is not None), None)
        if value is not None:
            found[ours] = value
    return found


Pairs = list[tuple[str, str, float]]


def _pairs(given: dict[str, Any], place: str, reading: Reading) -> tuple[Prompt, Pairs]:
    """Prompt, and pairs with the share of the first."""
    if "answers" in given and "chosen" not in given:
        return _several(given, place, reading)
    if "answer_a" in given and "answer_b" in given:
        return _sides(given, place)
    return _chosen(given, place, reading)


def _chosen(given: dict[str, Any], place: str, reading: Reading) -> tuple[Prompt, Pairs]:
    raw = {name: given[name] for name in ("prompt", "chosen", "rejected") if name in given}
    plain = {name: _text(value) for name, value in raw.items()}
    try:
        row = normalise(plain, 0)
    except InputError as error:
        raise InputError(str(error).replace("Row 0", _at(place), 1)) from error
    margin = None
    if "margin" in given:
        margin = _real(given["margin"], place, "margin")
    elif "score_chosen" in given and "score_rejected" in given:
        scores = (_real(given[n], place, n) for n in ("score_chosen", "score_rejected"))
        margin = next(scores) - next(scores)
    share = 1.0 if margin is None else _share(margin, reading)
    if margin is None and reading.labels == "soft":
        raise InputError(
            f"{_at(place)} has no margin and no scores, which reading.labels = soft needs; give them or "
            "set reading.labels=hard."
        )
    return row.prompt, [(row.chosen, row.rejected, share)]


def _sides(given: dict[str, Any], place: str) -> tuple[Prompt, Pairs]:
    word = str(given.get("winner", "")).strip().lower()
    if word not in SIDES and not word.startswith("tie"):
        raise InputError(
            f"{_at(place)}: winner is {given.get('winner')!r}; it must be a, b, model_a, model_b or tie."
        )
    both = [_chosen({**given, "chosen": given[side], "rejected": given[side]}, place, Reading())
            for side in ("answer_a", "answer_b")]  # fmt: skip
    texts = [pairs[0][0] for _, pairs in both]
    if both[0][0] != both[1][0]:
        raise InputError(f"{_at(place)}: answer_a and answer_b answer different conversations.")
    return both[0][0], [(texts[0], texts[1], SIDES.get(word, 0.5))]


def _several(given: dict[str, Any], place: str, reading: Reading) -> tuple[Prompt, Pairs]:
    answers, texts = given["answers"], _texts(given, place)
    values = _ratings(given, answers, place)
    prompt, _ = _chosen({**given, "chosen": texts[0], "rejected": texts[1]}, place, Reading())
    pairs = list(itertools.combinations(range(len(texts)), 2))
    if reading.pairs == "disjoint":
        pairs = [(i, i + 1) for i in range(0, len(texts) - 1, 2)]
    return prompt, [(texts[i], texts[j], _share(values[i] - values[j], reading)) for i, j in pairs]


def _texts(given: dict[str, Any], place: str) -> list[str]:
    """The texts of several answers."""
    answers = given["answers"]
    if not isinstance(answers, list) or len(answers) < 2:
        raise InputError(f"{_at(place)}: answers must be a list of at least two answers.")
    texts = [_text(_part(a, TEXTS, place, "text")) for a in answers]
    for text in texts:
        if not isinstance(text, str):
            raise InputError(f"{_at(place)}: answers holds {text!r:.40}; an answer is text.")
    return texts


def _ratings(given: dict[str, Any], answers: list[Any], place: str) -> list[float]:
    """One number an answer, high is good."""
    sign, name = (-1.0, "ranks") if "ranks" in given else (1.0, "ratings")
    if name in given:
        values = given[name]
    else:
        values = [
            _part(a, RATES, place, "rating") if isinstance(a, dict) else None for a in answers
        ]
    if not isinstance(values, list) or len(values) != len(answers) or None in values:
        raise InputError(
            f"{_at(place)} has {len(answers)} answers and no list of as many ratings or ranks; give "
            "one number an answer."
        )
    return [sign * _real(v, place, name) for v in values]


def _part(value: Any, names: tuple[str, ...], place: str, what: str) -> Any:
    """The named part of an answer that is an object; anything else is itself."""
    if not isinstance(value, dict):
        return value
    found = next((value[n] for n in names if value.get(n) is not None), None)
    if found is None:
        raise InputError(f"{_at(place)}: an answer has no {what}; give one of: {', '.join(names)}.")
    return found


def _share(margin: float, reading: Reading) -> float:
    """The share of a win that a margin stands for."""
    if reading.labels == "soft":
        return 1 / (1 + math.exp(-max(-500.0, min(500.0, margin / reading.scale))))
    return 0.5 if margin == 0 else float(margin > 0)


def _text(value: Any) -> Any:
    """Numbers as the text that names them (12.0 is 12); anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return value
    return str(int(value)) if float(value).is_integer() else str(value)


def _real(value: Any, place: str, name: str) -> float:
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise InputError(f"{_at(place)}: {name} is {value!r:.40}; it must be a finite number.")
    return found


def _others(given: dict[str, Any], place: str) -> tuple[str, ...]:
    values = given.get("candidates", [])
    texts = [_text(v) for v in values] if isinstance(values, list) else [None]
    if "answers" in given and "chosen" not in given:
        texts = [*_texts(given, place), *texts]
    if not all(isinstance(text, str) for text in texts):
        raise InputError(f"{_at(place)}: candidates is {values!r:.40}; it must be a list of texts.")
    return tuple(str(text) for text in texts)


def _flag(given: dict[str, Any], place: str) -> bool:
    value = given.get("tie", False)
    if value not in (True, False, 0, 1):
        raise InputError(f"{_at(place)}: tie is {value!r:.40}; it must be true or false.")
    return bool(value)


def _count(given: dict[str, Any], place: str) -> int:
    value = _real(given.get("count", 1), place, "count")
    if not value.is_integer() or not 0 <= value <= 10**6:
        raise InputError(
            f"{_at(place)}: count is {given['count']!r:.40}; it must be a whole number from 0."
        )
    return int(value)
