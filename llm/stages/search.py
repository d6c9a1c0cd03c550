"""The search stage of DRPO: system prompts in a beam, every answer and score kept as it comes."""

from __future__ import annotations

import importlib
import os
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experiments.common.files import read_json, write_json
from llm.data.row import Row
from llm.files import processes
from llm.files.parts import part_seed
from llm.methods.drpo import Drpo
from llm.models.assistants import Assistant, ChatJudge, ChatProposer
from llm.models.engines import Ends, GenerationSettings
from llm.stages.decoded import answer as say
from llm.stages.decoded import shown, spoken
from llm.worlds.referee import LanguageJudge
from llm.worlds.world import MOODS, World
from spac_theory.checks import InputError

KEPT_ABOVE = 4.5  # the released rule; it says "or all scores are 5", which is a case of it
MOST = 1000  # rows whose prompts serve as queries
SHOWN = 5  # earlier prompts that a proposer is shown

Judge = Callable[[str, str], Mapping[str, float]]
Propose = Callable[..., Sequence[str]]
Answer = Callable[[str, str], str]


@dataclass(frozen=True)
class Trail:
    """A path of the beam: its prompts, the sum of its rewards, and what came of the last prompt."""

    prompts: tuple[str, ...]
    total: float = 0.0
    reward: float = 0.0
    query: str = ""
    answer: str = ""
    scores: Mapping[str, float] | None = None

    @property
    def kept(self) -> bool:
        """Whether the last prompt is good enough to stay as it is."""
        return self.reward > KEPT_ABOVE


def children(path: Trail, method: Drpo, propose: Propose) -> list[str]:
    """The prompts a path tries at the next level: its own, and new ones unless it is kept."""
    own = path.prompts[-1]
    if path.kept and method.extend:
        return [own]
    history = path.prompts[-SHOWN:]
    new = propose(own, path.query, path.answer, dict(path.scores or {}), history, method.proposals)
    return [own, *new][: 1 + method.proposals]


def search(
    method: Drpo,
    queries: Callable[[int], str],
    answer: Answer,
    judge: Judge,
    propose: Callable[[int], Propose],
    keep: Callable[[int, Callable[[], list[dict[str, Any]]]], list[dict[str, Any]]],
) -> Trail:
    """The best path; `keep` remembers what was tried at a level that is done."""
    beam, limit, level = [Trail((method.prompt,))], method.depth, 0
    while level < limit:
        query, start = queries(level), beam

        def level_of(
            level: int = level, query: str = query, start: list[Trail] = start
        ) -> list[dict[str, Any]]:
            return [
                {
                    "parent": i,
                    "prompt": text,
                    "query": query,
                    **assessed(text, query, answer, judge),
                }
                for i, path in enumerate(start)
                for text in children(path, method, propose(level))
            ]

        if method.extend and any(p.kept for p in beam) and limit < method.depth + method.extend:
            limit += 1
        found = [extended(beam[t["parent"]], t, method.beam) for t in keep(level, level_of)]
        beam = sorted(found, key=lambda p: -p.total)[: method.beam]  # stable: the earlier of equals
        level += 1
    return beam[0]


def assessed(text: str, query: str, answer: Answer, judge: Judge) -> dict[str, Any]:
    """An answer with its scores; where none could be read the reward is 0."""
    said = answer(text, query)
    scores = dict(judge(query, said))
    bad = [f"{name}: {value!r}" for name, value in scores.items() if not 1 <= value <= 5]
    if bad:
        raise InputError(f"The judge of drpo gave {bad[0]}; scores lie between 1 and 5.")
    reward = sum(scores.values()) / len(scores) if scores else 0.0
    return {"answer": said, "scores": scores, "reward": reward}


def extended(parent: Trail, tried: dict[str, Any], beam: int) -> Trail:
    """The path with one more prompt; of a beam of one, the last reward is all that counts."""
    total = tried["reward"] + (parent.total if beam > 1 else 0.0)
    last = (tried["reward"], tried["query"], tried["answer"], tried["scores"])
    return Trail((*parent.prompts, tried["prompt"]), total, *last)


def stage(
    folder: Path,
    method: Drpo,
    queries: Callable[[int], str],
    answer: Answer,
    language: World | None,
    seed: int,
) -> dict[str, Any]:
    """Stage: `search.json`, the trace; the found prompt, and what it took."""
    target = folder / "search.json"
    if processes.is_main() and not target.exists():
        judge, propose = judge_of(method.judge, language), proposer_of(method.proposer, seed)

        def keep(level: int, make: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
            path = folder / "levels" / f"level-{level:03d}.json"
            if not path.exists():
                before = failed(judge) + failed(propose(level))
                tried = make()
                failures = failed(judge) + failed(propose(level)) - before
                path.parent.mkdir(exist_ok=True)
                write_json(path, {"tried": tried, "failures": failures})
            found: list[dict[str, Any]] = read_json(path)["tried"]
            return found

        best = search(method, queries, answer, judge, propose, keep)
        parts = [read_json(p) for p in sorted((folder / "levels").iterdir())]
        write_json(target, {"prompt": best.prompts[-1], "path": best.prompts, "levels": parts})
    processes.barrier()
    found = read_json(target)
    tried = [t for level in found["levels"] for t in level["tried"]]
    return {
        "search": target.name,
        "prompt": found["prompt"],
        "labels": sum(len(t["scores"]) for t in tried),
        "samples": len(tried),
        "failures": sum(level["failures"] for level in found["levels"]),
    }


def failed(part: Any) -> int:
    """Replies of a judge or proposer that could not be read so far."""
    return int(getattr(part, "failures", 0))


def judge_of(name: str, language: World | None) -> Judge:
    """Who scores: the language's reward from 1 to 5, a function of (query, answer), a chat model."""
    if name == "language":
        assert language is not None
        truth = LanguageJudge(language)
        top = language.scale * float(language.reward.max())
        return lambda query, said: {"reward": 1 + 4 * truth([query], [said])[0] / top}
    if Path(name).is_dir():
        return ChatJudge(Assistant(name))
    found: Judge = function_of("judge", name)
    return found


def proposer_of(name: str, seed: int) -> Callable[[int], Propose]:
    """Who proposes at a level: a language's moods and none, drawn; a function; a chat model."""
    if name == "language":

        def at(level: int) -> Propose:
            coin = random.Random(part_seed("proposals", seed, level))
            return lambda *told: [coin.choice(["", *MOODS]) for _ in range(told[-1])]

        return at
    made = ChatProposer(Assistant(name)) if Path(name).is_dir() else function_of("proposer", name)
    return lambda level: made


def function_of(field: str, name: str) -> Any:
    """`module:function`."""
    module, _, function = name.partition(":")
    try:
        sys.path.insert(0, os.getcwd())  # it may lie in the current folder
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"methods.drpo.{field} is {name!r}; it must be language, the folder of a chat model, or "
            f"module:function of something that can be imported ({error})."
        ) from error
    finally:
        sys.path.pop(0)


def found_by(method: Drpo, prompt: str) -> Drpo:
    """The method with the system prompt that its search found."""
    return replace(method, prompt=prompt)


def queries_of(
    language: World | None, rows: Sequence[Row], tokenizer: Any, seed: int
) -> Callable[[int], str]:
    """The query of each level: the prompts of the data in a fixed order, again from the start at the end."""
    asked = language.prompts if language else [spoken(tokenizer, r.prompt)[0] for r in rows[:MOST]]
    order = list(dict.fromkeys(asked))
    random.Random(part_seed("queries", seed)).shuffle(order)
    return lambda level: order[level % len(order)]


def speaker(
    load: Callable[[], Any], tokenizer: Any, method: Drpo, s: GenerationSettings, turned: bool
) -> Answer:
    """Greedy answers of the start, told a system prompt; the same question is asked once.

    `turned`: queries are turns of a conversation, not plain text.
    """
    live, known = list[Any](), dict[tuple[str, str], str]()

    def answer(prompt: str, query: str) -> str:
        if (prompt, query) not in known:
            if not live:
                live.append(load())
            texts = shown(tokenizer, query, found_by(method, prompt), turned)
            ends = Ends(tokenizer.pad_token_id, tokenizer.eos_token_id)
            ((ids,),) = say(live[0], [texts], method, replace(s, samples=1), ends, 0)
            known[prompt, query] = tokenizer.decode(ids, skip_special_tokens=True).strip()
        return known[prompt, query]

    return answer
