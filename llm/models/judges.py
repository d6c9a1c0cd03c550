"""Judges: what scores an answer to a prompt, a user's function or a reward model."""

from __future__ import annotations

import importlib
import inspect
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.common.files import read_json
from llm.data.padding import put_back
from llm.data.trees import families
from llm.files import processes
from llm.models.assistants import ChatScorer
from llm.models.load import load_tokenizer
from llm.models.packs import PACK_TOKENS, critic_obstacle, over_packs, pack_outputs
from spac_theory.checks import InputError

Judge = Callable[[list[str], list[str]], Sequence[float]]


def finite_scores(judge: Judge, prompts: list[str], answers: list[str]) -> list[float]:
    """The judge's scores as floats; refused when they are not as many finite numbers as answers."""
    try:
        scores = [float(x) for x in judge(prompts, answers)]
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"The judge failed on {len(answers)} answers ({reason:.200}); mend it, or name another judge."
        ) from error
    bad = next((x for x in scores if not math.isfinite(x)), None)
    if bad is not None or len(scores) != len(answers):
        what = f"the score {bad}" if bad is not None else f"{len(scores)} scores"
        raise InputError(
            f"The judge gave {what} for {len(answers)} answers; it must give one finite number each."
        )
    return scores


def speaks(folder: str) -> bool:
    """Whether the model in `folder` writes, as its configuration has it, where a reward model scores."""
    path = Path(folder) / "config.json"
    kinds = read_json(path).get("architectures") if path.is_file() else None
    return any("CausalLM" in str(kind) for kind in kinds or [])


def labels_of(judge: Any, prompts: list[str], answers: list[str]) -> list[float]:
    """The judge's scores; NaN where a chat model gave none that could be read, and of it alone."""
    if isinstance(judge, ChatScorer):
        return judge(prompts, answers)
    return finite_scores(judge, prompts, answers)


def judges_pairs(judge: Any) -> bool:
    """Whether a judge is asked `(prompts, first answers, second answers)`, not `(prompts, answers)`."""
    try:
        asked = inspect.signature(judge).parameters.values()
    except (TypeError, ValueError):
        return False
    return sum(p.kind in PLACED and p.default is p.empty for p in asked) == 3


PLACED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def finite_chances(
    judge: Any, prompts: list[str], first: list[str], second: list[str]
) -> list[float]:
    """`P(first ≻ second)` of a judge of pairs; refused when these are not as many numbers in [0, 1]."""
    chances = finite_scores(lambda p, y: judge(p, y, second), prompts, first)
    bad = next((c for c in chances if not 0 <= c <= 1), None)
    if bad is not None:
        raise InputError(
            f"The judge of pairs gave {bad:g}; it must give the chance, from 0 to 1, that the first answer "
            "is better."
        )
    return chances


def load_judge(name: str) -> Judge:
    """The judge called `name`: the folder of a reward model or a chat model, or `module:function`."""
    if name and Path(name).is_dir():
        return ChatScorer(name) if speaks(name) else RewardModel(name)
    module, _, function = name.partition(":")
    try:
        sys.path.insert(0, os.getcwd())  # a judge may lie in the current folder
        judge: Judge = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"judge is {name!r}; it must be the folder of a reward model or a chat model, or "
            f"module:function of something that can be imported ({error})."
        ) from error
    finally:
        sys.path.pop(0)
    return judge


class RewardModel:
    """A sequence classifier with one output, on the prompt and answer as its tokenizer has them."""

    def __init__(self, folder: str, batch: int = 8) -> None:
        from transformers import AutoModelForSequenceClassification

        self.tokenizer, self.batch = load_tokenizer(folder), batch
        loaded: Any = AutoModelForSequenceClassification.from_pretrained(
            folder, use_safetensors=True, trust_remote_code=False
        )
        self.model = loaded.to(processes.device()).eval()
        if self.model.config.num_labels != 1:
            raise InputError(
                f"judge is {folder!r}, a classifier with {self.model.config.num_labels} outputs; a "
                "reward model has 1."
            )
        self.model.config.pad_token_id = self.tokenizer.pad_token_id
        self.packs = critic_obstacle(self.model) is None

    def __call__(self, prompts: list[str], answers: list[str]) -> list[float]:
        """One score a pair; a model that reads packs reads what answers to a prompt begin with once."""
        import torch

        texts = [self.render(p, a) for p, a in zip(prompts, answers, strict=True)]
        ids = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            if self.packs and all(len(text) > 1 for text in map(self._scored, ids)):
                return self._packed([self._scored(text) for text in ids], prompts)
            return self._padded(ids)

    def _scored(self, ids: list[int]) -> list[int]:
        """What a classifier of transformers reads: up to the last token that is not padding."""
        kept = [i for i, token in enumerate(ids) if token != self.tokenizer.pad_token_id]
        return ids[: kept[-1] + 1] if kept else []

    def _packed(self, ids: list[list[int]], prompts: list[str]) -> list[float]:
        trees, places = families(ids, prompts, PACK_TOKENS)
        scores = over_packs(
            self.model, trees, PACK_TOKENS, lambda packed: pack_outputs(self.model, packed).float()
        )
        return put_back(scores.tolist(), places)

    def _padded(self, ids: list[list[int]]) -> list[float]:
        scores: list[float] = []
        self.tokenizer.padding_side = "right"
        for start in range(0, len(ids), self.batch):
            part = {"input_ids": ids[start : start + self.batch]}
            coded = self.tokenizer.pad(part, return_tensors="pt").to(self.model.device)
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
