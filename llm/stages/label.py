"""The label stage: a judge's scores or preferences for sampled responses, every one of them counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from llm.data.row import Row
from llm.files import processes
from llm.files.digests import Rows, read_rows
from llm.files.parts import join_parts, make_parts, part_seed
from llm.files.progress import Progress
from llm.methods import Stream
from llm.models.judges import finite_chances, judges_pairs, labels_of, load_judge
from llm.settings import CYCLE, LANGUAGE
from llm.training.rollouts import labels_a_row
from llm.worlds.language import Language
from llm.worlds.referee import CyclicJudge, LanguageJudge
from llm.worlds.world import World
from spac_theory.checks import InputError


class Labeller:
    """Answers for rows: `scores` a response, or `wins` a pair; texts go to the judge as decoded."""

    def __init__(self, judge: Any, tokenizer: Any) -> None:
        self.judge, self.tokenizer = judge, tokenizer

    def scores(self, rows: Sequence[Row], stream: str) -> list[list[float]]:
        """The judge's scores of every response, a list a row; refused by a judge of pairs."""
        if judges_pairs(self.judge):
            raise InputError(
                f"The judge compares two answers and gives no scores, and stream {stream!r} asks for "
                "scores; name a judge that scores, or a method that asks for preferences."
            )
        prompts = [self._text(r.prompt) for r in rows for _ in r.responses[stream]]
        answers = [self._text(y) for r in rows for y in r.responses[stream]]
        found = iter(labels_of(self.judge, prompts, answers))
        return [[next(found) for _ in r.responses[stream]] for r in rows]

    def wins(
        self, rows: Sequence[Row], stream: str, seed: int, against: str | None = None
    ) -> list[list[list[float]]]:
        """Who beats whom: a drawn label on a language, a judge's chance of it elsewhere.

        A judge of pairs is asked about each; of one that scores, `σ` of the difference is taken.
        """
        chance = torch.Generator().manual_seed(seed) if self.draws else None
        return [
            _drawn(p, against is not None, chance) for p in self._chances(rows, stream, against)
        ]

    @property
    def draws(self) -> bool:
        """Whether its pairwise labels are draws, as the data's are."""
        return isinstance(self.judge, LanguageJudge | CyclicJudge)

    def _chances(
        self, rows: Sequence[Row], stream: str, against: str | None
    ) -> Iterator[list[list[float]]]:
        """`P(y_i ≻ y'_j)` of each row, `K × K'`."""
        if judges_pairs(self.judge):
            yield from self._asked(rows, stream, against)
            return
        ours = self.scores(rows, stream)
        theirs = self.scores(rows, against) if against else ours
        for a, b in zip(ours, theirs, strict=True):
            gap = torch.tensor(a, dtype=torch.float64)[:, None] - torch.tensor(b)
            yield torch.sigmoid(gap).tolist()

    def _asked(
        self, rows: Sequence[Row], stream: str, against: str | None
    ) -> Iterator[list[list[float]]]:
        """What a judge of pairs says; within a stream each pair is asked about once, `i < j`."""
        sizes = [(len(r.responses[stream]), len(r.responses[against or stream])) for r in rows]
        cells = [
            [(i, j) for i in range(k) for j in range(0 if against else i + 1, m)] for k, m in sizes
        ]
        texts = [
            (r.prompt, r.responses[stream][i], r.responses[against or stream][j])
            for r, pairs in zip(rows, cells, strict=True)
            for i, j in pairs
        ]
        columns = ([self._text(t[c]) for t in texts] for c in range(3))
        found = iter(finite_chances(self.judge, *columns))
        for (k, m), pairs in zip(sizes, cells, strict=True):
            table = [[0.5] * m for _ in range(k)]
            for i, j in pairs:
                table[i][j] = next(found)
            yield table

    def _text(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return text.strip()


def _drawn(
    chances: list[list[float]], apart: bool, chance: torch.Generator | None
) -> list[list[float]]:
    """`P(i ≻ j)`, or a Bernoulli draw of it; within a stream once a pair, and ½ on the diagonal."""
    wins = torch.tensor(chances, dtype=torch.float64)
    if chance is not None:
        wins = (torch.rand(wins.shape, generator=chance, dtype=torch.float64) < wins).double()
    if not apart:
        upper = wins.triu(1)
        wins = upper + (1 - upper).T.tril(-1) + torch.eye(len(wins), dtype=torch.float64) / 2
    found: list[list[float]] = wins.tolist()
    return found


def make_labeller(name: str, language: World | None, tokenizer: Any) -> Labeller:
    """The labeller that `judge: name` asks for: the language's, `module:function`, or a folder."""
    if name == CYCLE:
        assert isinstance(language, Language)
        return Labeller(CyclicJudge(language), tokenizer)
    if name == LANGUAGE:
        assert language is not None
        return Labeller(LanguageJudge(language), tokenizer)
    return Labeller(load_judge(name), tokenizer)


def label(
    folder: Path,
    stream: Stream,
    rows: Sequence[Row],
    labeller: Callable[[], Labeller],
    batch: int,
    key: str,
) -> dict[str, Any]:
    """Stage: write `labels.parquet` with `score/<stream>` or `wins/<stream>`, and count the labels.

    Labels of a part depend on its number alone, so an interruption asks no question twice with two
    answers; it loses at most the part it was at.
    """
    target = folder / "labels.parquet"
    if not target.exists():
        live: list[Labeller] = []

        def make(number: int, span: range) -> Rows:
            if not live:
                live.append(labeller())
            part = [rows[i] for i in span]
            if stream.labels != "pairwise":
                return [{f"score/{stream.name}": s} for s in live[0].scores(part, stream.name)]
            seed = part_seed("labels", key, number)
            wins = live[0].wins(part, stream.name, seed, stream.against)
            return [{f"wins/{stream.name}": w} for w in wins]

        with Progress(f"labels {key}", len(rows)) as bar:
            for done in make_parts(folder / "parts", len(rows), batch, make):
                bar.advance(done)
    join_parts(folder / "parts", len(rows), batch, target)
    rivals = len(rows[0].responses[stream.against]) if stream.against else None
    column = f"{'wins' if stream.labels == 'pairwise' else 'score'}/{stream.name}"
    processes.barrier()
    unread = sum(not readable(row[column]) for row in read_rows(target))
    asked = len(rows) * labels_a_row(stream, rivals)
    return {"labels": target.name, "count": asked, "failures": unread}


def readable(values: Any) -> bool:
    """Whether a row's labels are all there: a chat model's reply that cannot be read is NaN."""
    if isinstance(values, list):
        return all(map(readable, values))
    return values is not None and not math.isnan(values)
