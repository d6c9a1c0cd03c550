"""Checks on preference rows before any model is loaded: what is dropped, what is refused."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from llm.data.encode import prompt_ids, response_ids
from llm.data.formats import PreferenceRow, Prompt, normalise
from llm.data.row import Row
from llm.files.digests import digest
from spac_theory.checks import InputError, choice


@dataclass(frozen=True)
class Limits:
    """Length limits in tokens, and what to do with pairs whose two answers are the same."""

    max_prompt_length: int
    max_length: int
    identical_pairs: str  # "keep", "drop" or "refuse"

    def __post_init__(self) -> None:
        choice("data.identical_pairs", self.identical_pairs, ("keep", "drop", "refuse"))
        if not 0 < self.max_prompt_length < self.max_length:
            raise InputError(
                f"data.max_prompt_length is {self.max_prompt_length}; it must be at least 1 and "
                f"below data.max_length, which is {self.max_length}."
            )


@dataclass
class Counts:
    """What happened to the rows."""

    read: int = 0
    kept: int = 0
    empty: int = 0
    identical: int = 0
    duplicate: int = 0
    prompt_too_long: int = 0
    cut: int = 0
    leaked: int = 0
    unknown: int = 0
    strange: int = 0
    weightless: int = 0


def prompt_key(prompt: Prompt) -> str:
    """A hash that is equal for equal prompts."""
    return digest(prompt)


def prepare(
    raw: Sequence[Any], tokenizer: Any, limits: Limits, held_out: frozenset[str] = frozenset()
) -> tuple[list[Row], dict[str, Any]]:
    """Check, clean and tokenise `raw` rows; return native rows and a report.

    Dropped and counted: rows with an empty prompt or answer, exact duplicates, prompts that are too
    long, prompts whose key is in `held_out` (they belong to the test rows), rows of weight 0, identical
    pairs if so asked, and answers of which the tokenizer knows no token. Answers beyond `max_length` are
    cut and lose their end-of-sequence token. Kept and counted: rows with a token that the tokenizer does
    not know. Raises InputError for malformed rows, named by their number from 1, and when nothing is left.
    """
    counts = Counts(read=len(raw))
    rows: list[Row] = []
    seen: set[str] = set()
    special = frozenset(tokenizer.all_special_ids)
    for number, item in enumerate(raw, start=1):
        row, weight = normalise(item, number), weight_of(item, number)
        if _usable(row, weight, number, limits, counts, seen, held_out):
            encoded = _encode(row, weight, number, tokenizer, limits, counts, special)
            if encoded is not None:
                rows.append(encoded)
    counts.kept = len(rows)
    if not rows:
        raise InputError(
            f"No usable preference rows are left of {len(raw)} ({told(asdict(counts))}); check the data, the "
            "length limits and the model's tokenizer."
        )
    report = {"counts": asdict(counts), "lengths": _lengths(rows), "prompts": _prompts(rows)}
    weights = [row.row_weight for row in rows]
    if min(weights) < max(weights):
        report["weights"] = {"smallest": min(weights), "largest": max(weights), "sum": sum(weights)}
    return rows, report


def weight_of(item: Any, number: int) -> float:
    """How often raw row `number` counts: its column `weight`, 1 without one or where it is empty."""
    given = item.get("weight")
    if given is None:
        return 1.0
    real = isinstance(given, int | float) and not isinstance(given, bool)
    if not real or not math.isfinite(given) or given < 0:
        raise InputError(
            f"Row {number}: weight is {given!r:.40}; it must be a finite number from 0, how often the row "
            "counts in training, so mend it, or leave the column weight out."
        )
    return float(given)


def _usable(
    row: PreferenceRow,
    weight: float,
    number: int,
    limits: Limits,
    counts: Counts,
    seen: set[str],
    held_out: frozenset[str],
) -> bool:
    key = prompt_key(row.prompt)
    if not row.chosen.strip() or not row.rejected.strip() or not row.prompt:
        counts.empty += 1
        return False
    if weight == 0:
        counts.weightless += 1
        return False
    if row.chosen == row.rejected:
        counts.identical += 1
        if limits.identical_pairs == "refuse":
            raise InputError(
                f"Row {number}: chosen and rejected are the same text; set data.identical_pairs to "
                "drop or keep."
            )
        if limits.identical_pairs == "drop":
            return False
    if key in held_out:
        counts.leaked += 1
        return False
    if limits.identical_pairs != "keep":  # repeated draws are data where pairs are i.i.d. draws
        whole = digest([key, row.chosen, row.rejected, *([weight] if weight != 1 else [])])
        if whole in seen:
            counts.duplicate += 1
            return False
        seen.add(whole)
    return True


def _encode(
    row: PreferenceRow,
    weight: float,
    number: int,
    tokenizer: Any,
    limits: Limits,
    counts: Counts,
    special: frozenset[int],
) -> Row | None:
    prompt = prompt_ids(tokenizer, row.prompt)
    if len(prompt) > limits.max_prompt_length:
        counts.prompt_too_long += 1
        return None
    room = limits.max_length - len(prompt)
    chosen = response_ids(tokenizer, row.prompt, row.chosen)
    rejected = response_ids(tokenizer, row.prompt, row.rejected)
    if special.issuperset(chosen) or special.issuperset(rejected):
        counts.unknown += 1
        return None
    strange = tokenizer.unk_token_id
    counts.strange += strange is not None and strange in [*prompt, *chosen, *rejected]
    counts.cut += (len(chosen) > room) + (len(rejected) > room)
    return Row(
        prompt,
        {"chosen": [chosen[:room]], "rejected": [rejected[:room]]},
        key=prompt_key(row.prompt),
        number=number - 1,
        row_weight=weight,
    )


def _lengths(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    report = {}
    ids = {"prompt": [r.prompt for r in rows]}
    ids |= {name: [r.responses[name][0] for r in rows] for name in ("chosen", "rejected")}
    for name, lists in ids.items():
        lengths = sorted(map(len, lists))
        report[name] = {
            "mean": round(statistics.fmean(lengths), 1),
            "median": lengths[len(lengths) // 2],
            "max": lengths[-1],
        }
    return report


def _prompts(rows: Sequence[Row]) -> dict[str, int]:
    repeats = Counter(row.key for row in rows)
    return {"distinct": len(repeats), "most_repeated": max(repeats.values())}


MEANING = {
    "empty": "with an empty prompt or answer",
    "identical": "with two equal answers",
    "duplicate": "repeated",
    "prompt_too_long": "with a prompt beyond data.max_prompt_length",
    "leaked": "with a prompt that the test rows have too",
    "weightless": "of weight 0",
    "unknown": "with an answer of which the tokenizer knows no token",
    "strange": "with tokens that the tokenizer does not know",
    "cut": "answers cut",
}


def told(counts: Mapping[str, int]) -> str:
    """What became of rows that are not simply kept, in words; empty where nothing did."""
    return ", ".join(f"{counts[k]} {words}" for k, words in MEANING.items() if counts.get(k))
