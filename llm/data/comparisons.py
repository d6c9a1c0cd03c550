"""A file of preferences as a ragged problem: each prompt a context, its distinct answers the actions.

Messy files are cleaned, and every repair is counted: white space decides nothing, a row said twice is one
row, and an answer compared with itself says nothing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llm.data.formats import Prompt
from llm.data.judgements import Judgement, Reading, judgements
from llm.data.lines import read_lines
from llm.files.digests import digest
from spac_theory.bandit.action_sets import ActionSets
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.checks import InputError

SOFT_UNIT = 100  # soft labels are kept in hundredths of a win


@dataclass
class Cleaning:
    """What happened to the rows: counts of rows, judgements, and repairs."""

    rows: int = 0
    judgements: int = 0
    empty: int = 0
    identical: int = 0
    duplicate: int = 0
    repeated: int = 0  # said again, and kept
    tied: int = 0
    counted_zero: int = 0
    spelt_apart: int = 0  # texts that differ from another in white space alone

    def words(self) -> str:
        """The counts that are not 0, in words."""
        parts = [f"{v} {k.replace('_', ' ')}" for k, v in asdict(self).items() if v]
        return ", ".join(parts)


@dataclass(frozen=True)
class Comparisons:
    """Prompts with answers of their own, and who beat whom.

    Attributes
    ----------
    prompts : X prompts, `sources` where each comes from ("" if the file does not say)
    answers : N answers, prompt by prompt; `sets` says how many each has
    context, winner, loser, weight : (m,) int64: `weight` units of `1/unit` comparison
    places : m places in the file
    """

    prompts: list[Prompt]
    sources: list[str]
    answers: list[str]
    sets: ActionSets
    context: Tensor
    winner: Tensor
    loser: Tensor
    weight: Tensor
    unit: int
    places: list[str]
    cleaning: Cleaning = field(default_factory=Cleaning)

    def counts(self, rows: Tensor | None = None) -> WinnerCounts:
        """Winner counts of all judgements, or of `rows` (m,) bool."""
        keep = torch.ones_like(self.context, dtype=torch.bool) if rows is None else rows
        parts = [t[keep] for t in (self.context, self.winner, self.loser, self.weight)]
        return self.sets.counts(parts[0], parts[1], parts[2], parts[3], self.unit)

    @property
    def prompt_of(self) -> Tensor:
        """`(N,)`: the prompt of each answer."""
        return torch.repeat_interleave(torch.arange(len(self.prompts)), self.sets.sizes)

    def keys(self) -> list[str]:
        """`(N,)`: the hash that names each answer at its prompt, whatever file it stands in."""
        prompts = [digest(canonical(prompt)) for prompt in self.prompts]
        pairs = zip(self.prompt_of.tolist(), self.answers, strict=True)
        return [digest([prompts[x], canonical(answer)]) for x, answer in pairs]


def canonical(text: Prompt) -> Any:
    """A text with white space and Unicode composition made alike; each message of a conversation so."""
    if isinstance(text, str):
        return " ".join(unicodedata.normalize("NFC", text).split())
    return [[m["role"], canonical(m["content"])] for m in text]


def plain_text(prompt: Prompt) -> str:
    """A prompt as one text, for counting words and showing examples."""
    return prompt if isinstance(prompt, str) else "\n".join(m["content"] for m in prompt)


def read(path: str | None, reading: Reading, name: str = "data") -> Comparisons:
    """Read and clean a file of preferences. Raises InputError, one sentence with the line."""
    if not path:
        raise InputError(
            f"{name} is {path!r}; it must be a .jsonl or .parquet file of preferences."
        )
    rows = read_lines(name, Path(path).expanduser())
    said = (j for place, row in rows for j in judgements(row, place, reading))
    return collect(said, reading, len(rows))


def collect(said: Iterable[Judgement], reading: Reading, rows: int = 0) -> Comparisons:
    """Judgements, cleaned, as a ragged problem."""
    book, cleaning = _Book(), Cleaning(rows=rows)
    kept: list[tuple[int, int, int, Judgement]] = []
    seen: set[Any] = set()
    for one in said:
        cleaning.judgements += 1
        place = book.place(one)
        if place is None:
            cleaning.empty += 1
        elif place[1] == place[2]:
            cleaning.identical += 1
        elif _usable(one, place, reading, cleaning, seen):
            kept.append((*place, one))
    cleaning.spelt_apart = book.spelt_apart
    if not kept:
        raise InputError(
            f"data has no usable comparison ({cleaning.words() or 'it is empty'}); at least one is needed."
        )
    return _build(book, kept, reading, cleaning)


def _usable(
    one: Judgement,
    place: tuple[int, int, int],
    reading: Reading,
    cleaning: Cleaning,
    seen: set[Any],
) -> bool:
    """Whether a judgement stays; why not is counted."""
    if one.count == 0:
        cleaning.counted_zero += 1
        return False
    if one.share == 0.5 and reading.labels == "hard":
        cleaning.tied += 1
        if reading.ties == "refuse":
            raise InputError(
                f"{one.place.capitalize()} is a tie; set reading.ties to half (half a win each way) or drop."
            )
        if reading.ties == "drop":
            return False
    x, a, b = place
    pair = (a, b, one.share) if a < b else (b, a, 1 - one.share)
    mark = (x, *pair, one.annotator)
    if mark in seen:
        if reading.duplicates == "drop":
            cleaning.duplicate += 1
            return False
        cleaning.repeated += 1
    seen.add(mark)
    return True


class _Book:
    """Numbers prompts and their answers in the order in which they are met."""

    def __init__(self) -> None:
        self.prompts: dict[str, int] = {}
        self.shown: list[tuple[Prompt, str]] = []
        self.answers: list[dict[str, int]] = []
        self.texts: list[list[str]] = []
        self.spellings: dict[tuple[int, str], str] = {}
        self.spelt_apart = 0

    def place(self, one: Judgement) -> tuple[int, int, int] | None:
        """Context and actions of a judgement; None if one of its texts is empty."""
        key = canonical(one.prompt)
        firsts = canonical(one.first), canonical(one.second)
        if not key or not all(firsts):
            return None
        name = digest(key)
        x = self.prompts.setdefault(name, len(self.prompts))
        if x == len(self.shown):
            self.shown.append((one.prompt, one.source))
            self.answers.append({})
            self.texts.append([])
        a, b = (
            self._answer(x, key, text)
            for key, text in zip(firsts, (one.first, one.second), strict=True)
        )
        for text in one.candidates:
            if said := canonical(text):
                self._answer(x, said, text)
        return x, a, b

    def _answer(self, x: int, key: str, text: str) -> int:
        known = self.answers[x]
        if key not in known:
            known[key] = len(self.texts[x])
            self.texts[x].append(text)
        elif self.texts[x][known[key]] != text and (x, text) not in self.spellings:
            self.spellings[x, text] = key
            self.spelt_apart += 1
        return known[key]


def _build(
    book: _Book,
    kept: list[tuple[int, int, int, Judgement]],
    reading: Reading,
    cleaning: Cleaning,
) -> Comparisons:
    """Prompts that kept a comparison, renumbered, and their judgements in units of a win."""
    used = sorted({x for x, *_ in kept})
    number = {x: i for i, x in enumerate(used)}
    soft = reading.labels == "soft"
    unit = SOFT_UNIT if soft else 2 if any(one.share == 0.5 for *_, one in kept) else 1
    rows: list[tuple[int, int, int, int]] = []
    places: list[str] = []
    for x, a, b, one in kept:
        units = round(one.share * unit)
        for winner, loser, weight in ((a, b, units), (b, a, unit - units)):
            if weight:
                rows.append((number[x], winner, loser, weight * one.count))
                places.append(one.place)
    context, winners, losers, weights = torch.tensor(rows).T.contiguous()
    sets = ActionSets(torch.tensor([len(book.texts[x]) for x in used]))
    return Comparisons(
        [book.shown[x][0] for x in used],
        [book.shown[x][1] for x in used],
        [text for x in used for text in book.texts[x]],
        sets,
        context,
        winners,
        losers,
        weights,
        unit,
        places,
        cleaning,
    )
