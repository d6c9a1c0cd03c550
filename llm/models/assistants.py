"""Chat models that judge and propose on this machine: read strictly, every failure counted."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llm.files import processes
from llm.models.load import load_tokenizer

Ask = Callable[[str], str]
Scores = dict[str, float]
LONGEST = 512
RUBRIC = "whether it helps whoever asked: to the point, true, complete and clear"
CRITERIA = """Name the two to five criteria that matter most for judging an answer to the query below,
one a line, each of a few words and nothing else.

Query:
{query}"""
SCORE = """Judge the answer below on one criterion. Say briefly why, then end with a line of its own that
reads Score: N, where N is a whole number from 1 (bad) to 5 (excellent).

Criterion: {criterion}

Query:
{query}

Answer:
{answer}"""
PROPOSE = """Improve the system prompt of an assistant. With the prompt below it gave the answer below, and
a judge gave the scores below. Write one better system prompt between the lines <prompt> and </prompt>. Be
specific; do not repeat the earlier prompts.

Earlier prompts:
{history}

Prompt:
{prompt}

Query:
{query}

Answer:
{answer}

Scores:
{scores}

Attempt {number}."""


class Assistant:
    """A causal model with a chat template, answering greedily; the same question is asked once."""

    def __init__(self, folder: str) -> None:
        from transformers import AutoModelForCausalLM

        self.tokenizer = load_tokenizer(folder)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, use_safetensors=True, trust_remote_code=False
        )
        self.model = loaded.to(processes.device()).eval()
        self.known: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        """The reply."""
        if text not in self.known:
            turn = [{"role": "user", "content": text}]
            ids = self.tokenizer.apply_chat_template(
                turn, add_generation_prompt=True, return_tensors="pt", return_dict=True
            ).to(self.model.device)
            out = self.model.generate(
                **{name: ids[name] for name in ("input_ids", "attention_mask")},
                do_sample=False,
                max_new_tokens=LONGEST,
                pad_token_id=self.tokenizer.pad_token_id,
            )
            new = out[0, ids["input_ids"].shape[1] :]
            self.known[text] = self.tokenizer.decode(new, skip_special_tokens=True)
        return self.known[text]


class ChatJudge:
    """Criteria chosen for the query, then a score from 1 to 5 on each; a reply without one is no score."""

    def __init__(self, ask: Ask) -> None:
        self.ask, self.failures = ask, 0
        self.criteria: dict[str, list[str]] = {}

    def __call__(self, query: str, answer: str) -> Scores:
        """The scores that could be read, by criterion; `{}` where nothing could."""
        if query not in self.criteria:
            self.criteria[query] = criteria_in(self.ask(CRITERIA.format(query=query)))
            self.failures += not self.criteria[query]
        found: Scores = {}
        for criterion in self.criteria[query]:
            score = score_in(
                self.ask(SCORE.format(criterion=criterion, query=query, answer=answer))
            )
            if score is None:
                self.failures += 1
            else:
                found[criterion] = score
        return found


class ChatScorer:
    """A judge of the whole run: a score from 1 to 5 on one rubric, NaN for a reply that cannot be read.

    The rubric is the file `rubric.txt` in the model's folder, or :data:`RUBRIC`.
    """

    def __init__(self, folder: str, ask: Ask | None = None) -> None:
        path = Path(folder) / "rubric.txt"
        self.rubric = path.read_text(encoding="utf-8").strip() if path.exists() else RUBRIC
        self.ask = ask or Assistant(folder)

    def __call__(self, prompts: list[str], answers: list[str]) -> list[float]:
        """One score a pair."""
        asked = (
            SCORE.format(criterion=self.rubric, query=x, answer=y)
            for x, y in zip(prompts, answers, strict=True)
        )
        found = (score_in(self.ask(text)) for text in asked)
        return [math.nan if score is None else score for score in found]


class ChatProposer:
    """New system prompts, one a reply; a reply without one proposes nothing."""

    def __init__(self, ask: Ask) -> None:
        self.ask, self.failures = ask, 0

    def __call__(
        self,
        prompt: str,
        query: str,
        answer: str,
        scores: Scores,
        history: Sequence[str],
        count: int,
    ) -> list[str]:
        """At most `count` prompts."""
        told = {
            "prompt": prompt,
            "query": query,
            "answer": answer,
            "scores": "\n".join(f"{name}: {value:g}" for name, value in scores.items()),
            "history": "\n".join(history),
        }
        replies = (self.ask(PROPOSE.format(**told, number=i + 1)) for i in range(count))
        found = [prompt_in(reply) for reply in replies]
        self.failures += found.count(None)
        return [text for text in found if text is not None]


def score_in(reply: str) -> float | None:
    """The number of the only line `Score: N`, 1 to 5; None where there is none, or more than one."""
    lines = re.findall(r"^\s*Score:\s*([1-5])\s*$", reply, re.MULTILINE)
    return float(lines[0]) if len(lines) == 1 else None


def criteria_in(reply: str) -> list[str]:
    """Two to five lines of at most eight words; anything else is no list of criteria."""
    lines = [re.sub(r"^\s*(?:[-*]|\d+[.)])\s*", "", line).strip() for line in reply.splitlines()]
    lines = list(dict.fromkeys(line for line in lines if line))
    good = 2 <= len(lines) <= 5 and all(len(line.split()) <= 8 for line in lines)
    return lines if good else []


def prompt_in(reply: str) -> str | None:
    """What stands between `<prompt>` and `</prompt>`; None where that is not there once."""
    found = re.findall(r"<prompt>\s*(.+?)\s*</prompt>", reply, re.DOTALL)
    return found[0] if len(found) == 1 else None
