"""The label stage: a judge's scores or preferences for sampled responses, every one of them counted."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from llm.data.row import Row
from llm.files.digests import Rows
from llm.files.parts import join_parts, make_parts, part_seed
from llm.files.progress import Progress
from llm.methods import Stream
from llm.models.judges import Judge, finite_scores, load_judge
from llm.worlds.referee import LanguageJudge
from llm.worlds.world import World

LANGUAGE = "language"


class Labeller:
    """Answers for rows: `scores` a response, or `wins` a pair; texts go to the judge as decoded."""

    def __init__(self, judge: Judge | LanguageJudge, tokenizer: Any) -> None:
        self.judge, self.tokenizer = judge, tokenizer

    def scores(self, rows: Sequence[Row], stream: str) -> list[list[float]]:
        """The judge's scores of every response, a list a row."""
        prompts = [self._text(r.prompt) for r in rows for _ in r.responses[stream]]
        answers = [self._text(y) for r in rows for y in r.responses[stream]]
        found = iter(finite_scores(self.judge, prompts, answers))
        return [[next(found) for _ in r.responses[stream]] for r in rows]

    def wins(self, rows: Sequence[Row], stream: str, seed: int) -> list[list[list[float]]]:
        """Who beats whom: a drawn label on a language, `σ` of the difference of scores elsewhere."""
        chance = torch.Generator().manual_seed(seed)
        drawn = isinstance(self.judge, LanguageJudge)
        return [_matrix(scores, chance if drawn else None) for scores in self.scores(rows, stream)]

    def _text(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return text.strip()


def _matrix(scores: Sequence[float], chance: torch.Generator | None) -> list[list[float]]:
    """`wins[i][j] = P(i ≻ j)`, or a Bernoulli draw of it, once a pair; ½ on the diagonal."""
    wins = [[0.5] * len(scores) for _ in scores]
    for i, j in itertools.combinations(range(len(scores)), 2):
        p = torch.sigmoid(torch.tensor(scores[i] - scores[j], dtype=torch.float64))
        if chance is not None:
            p = (torch.rand((), generator=chance, dtype=torch.float64) < p).double()
        wins[i][j], wins[j][i] = float(p), 1 - float(p)
    return wins


def make_labeller(name: str, language: World | None, tokenizer: Any) -> Labeller:
    """The labeller that `judge: name` asks for: "language", `module:function`, or a folder."""
    if name == LANGUAGE:
        assert language is not None
        return Labeller(LanguageJudge(language), tokenizer)
    return Labeller(load_judge(name), tokenizer)


def count(stream: Stream, rows: int) -> int:
    """Labels that a stage spends: a score a response, or an answer a pair."""
    k = stream.count or 0
    if stream.labels == "critic":
        return 0
    return rows * (k if stream.labels == "score" else k * (k - 1) // 2)


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
            wins = live[0].wins(part, stream.name, part_seed("labels", key, number))
            return [{f"wins/{stream.name}": w} for w in wins]

        with Progress(f"labels {key}", len(rows)) as bar:
            for done in make_parts(folder / "parts", len(rows), batch, make):
                bar.advance(done)
    join_parts(folder / "parts", len(rows), batch, target)
    return {"labels": target.name, "count": count(stream, len(rows))}
