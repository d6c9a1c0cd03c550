"""Win rates under a judge: whose answers to the same prompts score higher, base against iterates.

A judge scores pairs (prompt, answer); higher is better. It is a function of the user's, named
`module:function`, or a reward model, named by its folder. A tie counts half.
"""

from __future__ import annotations

import importlib
import math
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm.data import formats
from llm.data.encode import prompt_ids
from llm.data.formats import Prompt
from llm.files import processes
from llm.models.load import ModelSettings, adapter_base, load_tokenizer
from llm.stages.answer import MixtureEngine, models_of
from llm.stages.sample import GenerationSettings, TransformersEngine, part_seed
from spac_theory.checks import InputError

Judge = Callable[[list[str], list[str]], Sequence[float]]


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


def load_judge(name: str) -> Judge:
    """The judge called `name`: a reward model's folder, or `module:function`."""
    if name and Path(name).is_dir():
        return RewardModel(name)
    module, _, function = name.partition(":")
    try:
        sys.path.insert(0, os.getcwd())  # a judge may lie in the current folder
        judge: Judge = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"judge is {name!r}; it must be the folder of a reward model, or module:function of "
            f"something that can be imported ({error})."
        ) from error
    finally:
        sys.path.pop(0)
    return judge


class RewardModel:
    """A sequence classifier with one output, on the prompt and answer as its tokenizer has them."""

    def __init__(self, folder: str, batch: int = 8) -> None:
        from transformers import AutoModelForSequenceClassification

        self.tokenizer, self.batch = load_tokenizer(folder), batch
        loaded: Any = AutoModelForSequenceClassification.from_pretrained(folder)
        self.model = loaded.to(processes.device()).eval()
        if self.model.config.num_labels != 1:
            raise InputError(
                f"judge is {folder!r}, a classifier with {self.model.config.num_labels} outputs; a "
                "reward model has 1."
            )
        self.model.config.pad_token_id = self.tokenizer.pad_token_id

    def __call__(self, prompts: list[str], answers: list[str]) -> list[float]:
        """One score a pair."""
        import torch

        scores: list[float] = []
        texts = [self.render(p, a) for p, a in zip(prompts, answers, strict=True)]
        self.tokenizer.padding_side = "right"
        for start in range(0, len(texts), self.batch):
            part = texts[start : start + self.batch]
            coded = self.tokenizer(
                part, add_special_tokens=False, padding=True, return_tensors="pt"
            ).to(self.model.device)
            with torch.no_grad():
                out = self.model(coded["input_ids"], attention_mask=coded["attention_mask"])
            scores += out.logits.float().squeeze(-1).tolist()
        return scores

    def render(self, prompt: str, answer: str) -> str:
        """The conversation in the reward model's own template; plain text without one."""
        if not self.tokenizer.chat_template:
            return prompt + answer
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        text: str = self.tokenizer.apply_chat_template(turns, tokenize=False)
        return text


def read_prompts(source: str, split: str = "test") -> list[Prompt]:
    """The prompts of a file or data set of preference rows, each once."""
    found: dict[str, Prompt] = {}
    for number, raw in enumerate(formats.load(source, split)):
        row = formats.normalise({"chosen": "-", "rejected": "-", **raw}, number)
        found.setdefault(repr(row.prompt), row.prompt)
    return list(found.values())


def question(prompt: Prompt) -> str:
    """What a judge sees of a prompt: the text, or the turns one after the other."""
    if isinstance(prompt, str):
        return prompt
    return "\n\n".join(turn["content"] for turn in prompt)


def answers(path: str, prompts: list[Prompt], length: int, batch: int, seed: int) -> list[str]:
    """One sampled answer a prompt from the model (or the method's answer) at `path`."""
    models = models_of(path)
    tokenizer = load_tokenizer(models[-1])
    settings = GenerationSettings("transformers", 1, 1.0, 1.0, length, batch)
    engines = [TransformersEngine(m, _settings(m), tokenizer, settings) for m in models]
    engine = MixtureEngine(engines, samples=1)
    texts = []
    for start in range(0, len(prompts), batch):
        ids = [prompt_ids(tokenizer, p) for p in prompts[start : start + batch]]
        for (sample,) in engine(ids, part_seed("judge", seed, start)):
            texts.append(tokenizer.decode(sample, skip_special_tokens=True).strip())
    return texts


def _settings(path: str) -> ModelSettings:
    base = adapter_base(path) if (Path(path) / "adapter_config.json").exists() else path
    return ModelSettings(base, None, "float32", "sdpa", None, None, {})


def compare(
    models: list[str], judge: Judge, prompts: list[Prompt], length: int, batch: int, seed: int = 0
) -> dict[str, WinRate]:
    """The win rate of every model but the first against the first."""
    asked = [question(prompt) for prompt in prompts]
    scores = {
        path: [float(x) for x in judge(asked, answers(path, prompts, length, batch, seed))]
        for path in models
    }
    base = scores[models[0]]
    return {path: win_rate(scores[path], base) for path in models[1:]}
