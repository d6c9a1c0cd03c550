"""The responses stage: a model's own answers to the sentiment prompts, scored and labelled.

Written part by part, so an interruption loses one part; done once a run directory. A response is kept
as token ids, so one that ran into the length limit has no end-of-sequence token.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llm.data.encode import prompt_ids
from llm.data.row import Row
from llm.data.validate import prompt_key
from llm.files.digests import Rows, digest, read_rows
from llm.files.parts import join_parts, make_parts, part_seed
from llm.files.progress import Progress
from llm.models.engines import ENGINES, Engine, GenerationSettings
from llm.models.load import load_tokenizer
from llm.worlds import sentiment
from llm.worlds.sentiment import SentimentSettings

FILE = "responses.parquet"


def identity(
    data: SentimentSettings, model: Any, generation: GenerationSettings, seed: int
) -> dict[str, Any]:
    """What responses and labels depend on, the prompts and the version of the lexicon included."""
    from dataclasses import asdict
    from importlib.metadata import version

    written = sentiment.SUBJECTS, sentiment.HELD_OUT, sentiment.OPENINGS, sentiment.HINT
    return {
        "data": asdict(data),
        "model": model.identity,
        "generation": asdict(generation),
        "prompts": digest(written),
        "lexicon": version("vaderSentiment"),
        "seed": seed,
    }


def respond(
    folder: Path, data: SentimentSettings, model: Any, generation: GenerationSettings, seed: int
) -> dict[str, Any]:
    """Stage: write `responses.parquet`, a labelled pair a row; `split` is train or test."""
    tokenizer = load_tokenizer(model.name, model.revision)
    live: list[Engine] = []

    def draw(asked: list[list[int]], key: int) -> list[list[int]]:
        if not live:
            live.append(ENGINES[generation.engine](model.name, model, tokenizer, generation))
        return [answers[0] for answers in live[0](asked, key)]

    todo = questions(data, seed)

    def make(number: int, span: range) -> Rows:
        rows = pairs([todo[i] for i in span], data, tokenizer, draw, part_seed(seed, number))
        bar.tokens += sum(len(r["chosen_ids"]) + len(r["rejected_ids"]) for r in rows)
        return rows

    size = max(1, generation.batch // 2)  # two responses a prompt
    if not (folder / FILE).exists():
        with Progress("responses", len(todo)) as bar:
            for count in make_parts(folder / "parts", len(todo), size, make):
                bar.advance(count)
    join_parts(folder / "parts", len(todo), size, folder / FILE)
    return {"responses": FILE, **summary(read_rows(folder / FILE))}


def questions(data: SentimentSettings, seed: int) -> list[tuple[str, str]]:
    """Every `(split, prompt)` of the run; no subject is in both splits."""
    train = sentiment.asked(sentiment.SUBJECTS, data.pairs, seed)
    test = sentiment.asked(sentiment.HELD_OUT, data.test_pairs, seed)
    return [("train", x) for x in train] + [("test", x) for x in test]


def pairs(
    asked: Sequence[tuple[str, str]],
    data: SentimentSettings,
    tokenizer: Any,
    draw: Callable[[list[list[int]], int], list[list[int]]],
    key: int,
) -> Rows:
    """Two i.i.d. responses of `μ` to every prompt, scored and labelled."""
    coin = random.Random(key)
    twice = [x for _, x in asked for _ in range(2)]
    praised = [coin.random() < data.coverage for _ in twice]
    shown = [sentiment.HINT + x if p else x for x, p in zip(twice, praised, strict=True)]
    ids = _by_kind([prompt_ids(tokenizer, text) for text in shown], praised, draw, key)
    texts = [tokenizer.decode(y, skip_special_tokens=True) for y in ids]
    rewards = sentiment.score(twice, texts)
    rows = []
    for i, (split, x) in enumerate(asked):
        wins = coin.random() < bradley_terry(data.scale, rewards[2 * i], rewards[2 * i + 1])
        better, worse = (2 * i, 2 * i + 1) if wins else (2 * i + 1, 2 * i)
        row: dict[str, Any] = {
            "split": split,
            "prompt": x,
            "prompt_key": prompt_key(x),
            "prompt_ids": prompt_ids(tokenizer, x),
        }
        for side, j in (("chosen", better), ("rejected", worse)):
            row |= {side: texts[j], f"{side}_ids": ids[j], f"{side}_reward": rewards[j]}
        rows.append(row)
    return rows


def _by_kind(
    shown: Sequence[list[int]],
    praised: Sequence[bool],
    draw: Callable[[list[list[int]], int], list[list[int]]],
    key: int,
) -> list[list[int]]:
    """Continuations of prompts with and without the hint, drawn apart: their lengths differ."""
    found: list[list[int]] = [[] for _ in shown]
    for kind in (False, True):
        places = [i for i, p in enumerate(praised) if p is kind]
        if places:
            drawn = draw([shown[i] for i in places], part_seed(key, kind))
            for i, y in zip(places, drawn, strict=True):
                found[i] = y
    return found


def bradley_terry(scale: float, first: float, second: float) -> float:
    """`P(first beats second) = σ(scale · (r₁ − r₂))`."""
    return 1 / (1 + math.exp(-scale * (first - second)))


def summary(rows: Rows) -> dict[str, float]:
    """The value of `μ`, and how often the label follows the reward."""
    both = [r[f"{side}_reward"] for r in rows for side in ("chosen", "rejected")]
    unequal = [r for r in rows if r["chosen_reward"] != r["rejected_reward"]]
    right = [r["chosen_reward"] > r["rejected_reward"] for r in unequal] or [False]
    return {"behaviour_value": statistics.fmean(both), "label_accuracy": statistics.fmean(right)}


def native(rows: Rows, split: str) -> list[Row]:
    """The prepared rows of one split, numbered."""
    kept = [row for row in rows if row["split"] == split]
    return [
        Row(
            row["prompt_ids"],
            {name: [row[f"{name}_ids"]] for name in ("chosen", "rejected")},
            key=row["prompt_key"],
            number=i,
        )
        for i, row in enumerate(kept)
    ]
