"""Win rates under a judge: whose answers to the same prompts score higher, base against iterates.

A judge scores pairs (prompt, answer); higher is better. It is a function of the user's, named
`module:function`, or a reward model, named by its folder. A tie counts half.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llm.data import formats
from llm.data.encode import prompt_ids
from llm.data.formats import Prompt
from llm.data.held_out import question
from llm.data.padding import by_length, put_back
from llm.files.parts import part_seed, pieces
from llm.models.engines import GenerationSettings, TransformersEngine
from llm.models.judges import Judge, finite_scores
from llm.models.load import ModelSettings, adapter_base, load_tokenizer
from llm.stages.answer import MixtureEngine, models_of
from spac_theory.checks import InputError


@dataclass(frozen=True)
class WinRate:
    """Share of prompts won, ties counted half, with its standard error over prompts."""

    rate: float
    stderr: float
    ties: int
    prompts: int


def win_rate(ours: Sequence[float], theirs: Sequence[float]) -> WinRate:
    """How often `ours` scores above `theirs`, prompt by prompt. Needs two prompts at least."""
    if len(ours) != len(theirs) or len(ours) < 2:
        raise InputError(
            f"The judge gave {len(ours)} and {len(theirs)} scores; a win rate needs as many for "
            "both models, and at least 2."
        )
    bad = next((x for x in [*ours, *theirs] if not math.isfinite(x)), None)
    if bad is not None:
        raise InputError(f"The judge gave the score {bad}; scores must be finite numbers.")
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in zip(ours, theirs, strict=True)]
    error = statistics.stdev(wins) / math.sqrt(len(wins))
    return WinRate(statistics.fmean(wins), error, wins.count(0.5), len(wins))


def read_prompts(source: str, split: str = "test") -> list[Prompt]:
    """The prompts of a file or data set of preference rows, each once."""
    found: dict[str, Prompt] = {}
    for number, raw in enumerate(formats.load(source, split)):
        row = formats.normalise({"chosen": "-", "rejected": "-", **raw}, number)
        found.setdefault(repr(row.prompt), row.prompt)
    return list(found.values())


def answers(path: str, prompts: list[Prompt], length: int, batch: int, seed: int) -> list[str]:
    """One sampled answer a prompt from the model (or the method's answer) at `path`.

    Prompts of like length are answered together.
    """
    models = models_of(path)
    tokenizer = load_tokenizer(models[-1])
    settings = GenerationSettings("transformers", 1, 1.0, 1.0, length, batch)
    engines = [TransformersEngine(m, _settings(m), tokenizer, settings) for m in models]
    engine = MixtureEngine(engines, samples=1)
    asked = [prompt_ids(tokenizer, p) for p in prompts]
    order, texts = by_length(asked), list[str]()
    for span in pieces(len(asked), batch):
        part = [asked[order[i]] for i in span]
        for (sample,) in engine(part, part_seed("judge", seed, span.start)):
            texts.append(tokenizer.decode(sample, skip_special_tokens=True).strip())
    return put_back(texts, order)


def _settings(path: str) -> ModelSettings:
    base = adapter_base(path) if (Path(path) / "adapter_config.json").exists() else path
    return ModelSettings(base, None, "float32", "sdpa", None, None, {})


def compare(
    models: list[str], judge: Judge, prompts: list[Prompt], length: int, batch: int, seed: int = 0
) -> dict[str, WinRate]:
    """The win rate of every model but the first against the first."""
    asked = [question(prompt) for prompt in prompts]
    scores = {
        path: finite_scores(judge, asked, answers(path, prompts, length, batch, seed))
        for path in models
    }
    base = scores[models[0]]
    return {path: win_rate(scores[path], base) for path in models[1:]}
