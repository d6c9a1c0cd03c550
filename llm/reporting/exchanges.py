"""Answers side by side: start, every method and the two recorded ones, to the same prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.common.files import read_json
from llm.files.digests import Rows, read_rows
from llm.stages.measure import ANSWERS, START


@dataclass(frozen=True)
class Answer:
    """One answer: who gave it, its text, and its reward if that is known."""

    author: str
    text: str
    reward: float | None


@dataclass(frozen=True)
class Exchange:
    """A held-out prompt and everybody's answer."""

    prompt: str
    answers: list[Answer]


def exchanges(run: Path, places: Mapping[str, str], names: Mapping[str, str]) -> list[Exchange]:
    """One exchange a held-out prompt; `places` says in which stage a policy's answers lie."""
    given = {key: first(run / place / ANSWERS) for key, place in places.items()}
    recorded = {r["prompt_key"]: r for r in read_json(run / "prepare" / "held_out.json")["rows"]}
    found = []
    for key, row in first(run / START / ANSWERS).items():
        lines = [_answer(names[who], rows[key]) for who, rows in given.items() if key in rows]
        words = recorded.get(key, {})
        lines += [
            Answer(f"recorded, {side}", str(words[side]), words.get(f"{side}_reward"))
            for side in ("chosen", "rejected")
            if side in words
        ]
        found.append(Exchange(str(row["prompt"]), lines))
    return found


def first(path: Path) -> dict[str, dict[str, object]]:
    """The first answer to each prompt."""
    rows: Rows = read_rows(path) if path.exists() else []
    kept: dict[str, dict[str, object]] = {}
    for row in rows:
        kept.setdefault(row["prompt_key"], row)
    return kept


def _answer(author: str, row: dict[str, object]) -> Answer:
    reward = row.get("reward")
    return Answer(author, str(row["answer"]), float(str(reward)) if reward is not None else None)
