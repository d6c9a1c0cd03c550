"""What a policy does on held-out prompts: preference accuracy, KL by sampling, value, win rate.

Intervals treat the prompt as the unit. Several rows or samples of one prompt are averaged first, so
that repeats do not make an interval shorter than it is.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experiments.common.files import read_json
from llm.data.padding import Ids, by_length, put_back
from llm.data.row import Row, read_native
from llm.files import processes
from llm.files.digests import Rows, read_rows, write_rows
from llm.files.parts import part_seed, pieces
from llm.files.progress import Progress
from llm.models.engines import ENGINES, GenerationSettings
from llm.models.load import ModelSettings, load_frozen
from llm.models.logprobs import with_logps
from llm.models.packs import with_packs
from llm.settings import EvaluationSettings
from llm.stages.reference import Columns, score

Scorer = Callable[[Sequence[str], Sequence[str]], Sequence[float]]
ANSWERS, PAIRS = "answers.parquet", "pairs.parquet"
START = "initial/evaluate"
PAIR, OWN = ("chosen", "rejected"), "own"


@dataclass(frozen=True)
class Bench:
    """Everything that does not change from policy to policy."""

    run: Path
    model: ModelSettings
    tokenizer: Any
    generation: GenerationSettings
    evaluation: EvaluationSettings
    batch: int
    seed: int
    scorer: Scorer | None
    tokens: int = 0

    @property
    def rows(self) -> list[Row]:
        """The held-out rows; none where `prepare` could cut none."""
        path = self.run / "prepare" / "test.parquet"
        return read_native(path) if path.exists() else []

    @property
    def words(self) -> dict[str, dict[str, str]]:
        """The texts of held-out rows by prompt key."""
        path = self.run / "prepare" / "held_out.json"
        rows = read_json(path)["rows"] if path.exists() else []
        return {row["prompt_key"]: row for row in rows}


def held_out(folder: Path, bench: Bench, path: str, start: str) -> dict[str, Any]:
    """Measure the policy at `path` against the one at `start`; write its scores and its answers.

    The start is measured first, by `START`; its own report has no column that compares it with itself.
    Returns `{}` without held-out rows.
    """
    rows = bench.rows
    if not rows:
        return {}
    policy, tokens = live(path, bench)
    given = answers(path, policy, rows, bench)
    own: dict[str, Rows] = {}
    for answer in given:
        own.setdefault(answer["prompt_key"], []).append(answer)
    asked = [Row(r.prompt, {**r.responses, OWN: _ids(own.pop(r.key, []))}, key=r.key) for r in rows]
    now = logps(policy, asked, (*PAIR, OWN), tokens, bench)
    scored = [
        {"prompt_key": r.key, **{name: found[name][0] for name in PAIR}}
        for r, found in zip(rows, now, strict=True)
    ]
    _note(given, "logp", asked, now)
    del policy
    if path != start and given:
        base, tokens = live(start, bench)
        asked = [Row(r.prompt, {OWN: r.responses[OWN]}, key=r.key) for r in asked]
        asked = [r for r in asked if r.responses[OWN]]
        _note(given, "start_logp", asked, logps(base, asked, (OWN,), tokens, bench))
    write_rows(folder / PAIRS, scored)
    write_rows(folder / ANSWERS, given)
    first = None if path == start else bench.run / START
    return {**preferences(scored, first), **behaviour(given, first)}


def live(path: str, bench: Bench) -> tuple[Any, int]:
    """The model at `path`, ready to score, and the tokens of a pack it reads; 0 where rows are padded."""
    policy = with_logps(load_frozen(path, bench.model).to(processes.device()).eval())
    return policy, bench.tokens if bench.tokens and with_packs(policy) else 0


def _ids(given: Rows) -> list[Ids]:
    return [answer["answer_ids"] for answer in given]


def _note(given: Rows, name: str, asked: Sequence[Row], found: Columns) -> None:
    """Write the log-probs of the policies' answers beside them; those of a prompt stand together."""
    values = {r.key: iter(f[OWN]) for r, f in zip(asked, found, strict=True) if f[OWN]}
    for answer in given:
        answer[name] = next(values[answer["prompt_key"]])


def logps(
    policy: Any, asked: Sequence[Row], names: Sequence[str], tokens: int, bench: Bench
) -> Columns:
    """`log π(y|x)` of every response of the streams `names`."""
    found: Columns = []
    with Progress("held-out log-probs", len(asked)) as bar:
        for part in pieces(len(asked), bench.batch):
            rows = [asked[i] for i in part]
            found += score(policy, rows, names, bench.tokenizer.pad_token_id, tokens)
            bar.tokens += sum(
                len(r.prompt) + len(y) for r in rows for n in names for y in r.responses[n]
            )
            bar.advance(len(part))
    return found


def answers(path: str, policy: Any, rows: Sequence[Row], bench: Bench) -> Rows:
    """Samples of the policy at a fixed set of held-out prompts, with their reward if it is known.

    Prompts of like length are answered together. The seed is the same for every policy.
    """
    prompts = list({r.key: r for r in rows}.values())[: bench.evaluation.prompts]
    if not prompts:
        return []
    s = replace(bench.generation, samples=bench.evaluation.samples)
    loaded = {"loaded": policy} if s.engine == "transformers" else {}
    engine = ENGINES[s.engine](path, bench.model, bench.tokenizer, s, **loaded)
    order, found = by_length([r.prompt for r in prompts]), list[list[list[int]]]()
    with Progress("held-out answers", len(prompts)) as bar:
        for span in pieces(len(prompts), s.batch):
            part = [prompts[order[i]].prompt for i in span]
            drawn = engine(part, part_seed("held-out", bench.seed, span.start))
            found += drawn
            bar.tokens += sum(len(y) for ys in drawn for y in ys)
            bar.advance(len(part))
    pairs = zip(prompts, put_back(found, order), strict=True)
    given = [written(r, y, bench) for r, ys in pairs for y in ys]
    reward(given, bench)
    return given


def reward(given: Rows, bench: Bench) -> None:
    """Write the reward of every answer beside it, where somebody knows it."""
    if bench.scorer is not None:
        scores = bench.scorer([a["prompt"] for a in given], [a["answer"] for a in given])
        for row, value in zip(given, scores, strict=True):
            row["reward"] = float(value)


def written(row: Row, ids: list[int], bench: Bench) -> dict[str, Any]:
    """One answer as it is stored."""
    known = bench.words.get(row.key)
    prompt = known["prompt"] if known else bench.tokenizer.decode(list(row.prompt))
    return {
        "prompt_key": row.key,
        "prompt": prompt,
        "prompt_ids": row.prompt,
        "answer": bench.tokenizer.decode(ids, skip_special_tokens=True),
        "answer_ids": ids,
        "stopped": ids[-1:] == [bench.tokenizer.eos_token_id],
    }


def by_prompt(rows: Rows, values: Sequence[float]) -> list[float]:
    """The mean of `values` at each prompt."""
    groups: dict[str, list[float]] = {}
    for row, value in zip(rows, values, strict=True):
        groups.setdefault(row["prompt_key"], []).append(value)
    return [statistics.fmean(group) for group in groups.values()]


def mean_and_error(name: str, values: Sequence[float]) -> dict[str, float]:
    """`{name, name_stderr}` of independent values; one value has no standard error."""
    found = {name: statistics.fmean(values)}
    if len(values) > 1:
        found[f"{name}_stderr"] = statistics.stdev(values) / math.sqrt(len(values))
    return found


def wilson(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of Wilson (1927) for a share among `count` independent units."""
    middle = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def preferences(scored: Rows, first: Path | None) -> dict[str, float]:
    """Held-out log-probs; against the start also accuracy and margin of `log(π/π_1)`, in nats.

    A tie of the margin counts half. The interval of the accuracy is Wilson's with the number of prompts.
    """
    found = {
        "logp_chosen": statistics.fmean(r["chosen"] for r in scored),
        "logp_rejected": statistics.fmean(r["rejected"] for r in scored),
        "held_out_pairs": len(scored),
    }
    if first is None:
        return found
    before = read_rows(first / PAIRS)
    gains = [
        (r["chosen"] - b["chosen"], r["rejected"] - b["rejected"])
        for r, b in zip(scored, before, strict=True)
    ]
    right = by_prompt(scored, [1.0 if c > d else 0.5 if c == d else 0.0 for c, d in gains])
    found["accuracy"] = statistics.fmean(right)
    low, high = wilson(found["accuracy"], len(right))
    margins = by_prompt(scored, [c - d for c, d in gains])
    return {
        **found,
        "accuracy_low": low,
        "accuracy_high": high,
        **mean_and_error("margin", margins),
        "logp_chosen_change": statistics.fmean(c for c, _ in gains),
        "logp_rejected_change": statistics.fmean(d for _, d in gains),
    }


def behaviour(given: Rows, first: Path | None) -> dict[str, float]:
    """Length of the answers; value where the reward is known; against the start KL and win rate."""
    if not given:
        return {}
    found: dict[str, float] = {
        "length": statistics.fmean(len(a["answer_ids"]) for a in given),
        "stopped": statistics.fmean(a["stopped"] for a in given),
        "answers": len(given),
    }
    rewarded = "reward" in given[0]
    if rewarded:
        found |= mean_and_error("reward", by_prompt(given, [a["reward"] for a in given]))
    if first is None:
        return found
    found |= mean_and_error("kl", by_prompt(given, [a["logp"] - a["start_logp"] for a in given]))
    if rewarded:
        found |= against(given, read_rows(first / ANSWERS))
    return found


def against(given: Rows, before: Rows) -> dict[str, float]:
    """Paired with the start's answers to the same prompts: gain of reward, win rate (a tie half)."""
    rivals: dict[str, list[float]] = {}
    for row in before:
        rivals.setdefault(row["prompt_key"], []).append(row["reward"])
    wins, gains = [], []
    for row in given:
        other = rivals[row["prompt_key"]]
        wins.append(
            statistics.fmean((row["reward"] > x) + 0.5 * (row["reward"] == x) for x in other)
        )
        gains.append(row["reward"] - statistics.fmean(other))
    return {
        **mean_and_error("win_rate", by_prompt(given, wins)),
        **mean_and_error("gain", by_prompt(given, gains)),
    }
