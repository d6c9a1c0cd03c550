"""Formats with a name: brought to prompt, chosen and rejected, or refused with what would help.

Recognised: transcripts of HH-RLHF (Bai et al., 2022), where chosen and rejected are whole dialogues
with a common beginning; turns written `from/value` (ShareGPT) instead of `role/content`, also as
`conversations`; a prompt called `instruction`, with an `input` after it. Refused, since
a pair would have to be chosen: raw UltraFeedback, rankings (Nectar), ratings of single answers (KTO).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from spac_theory.checks import InputError

TURN = re.compile(r"\n\n(Human|Assistant): ?")
ROLES = {"human": "user", "gpt": "assistant", "system": "system"}
SIDES = ("chosen", "rejected")
PAIRS = "write one row a pair, with prompt, chosen and rejected"


def recognised(row: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The row with its dialogues as lists of messages; other rows as they are."""
    if not all(side in row for side in SIDES):
        _refuse(row, number)
        return dict(row)
    row = _with_prompt(row)
    if row.get("prompt") is None and all(_is_transcript(row[side]) for side in SIDES):
        return {**row, **{side: turns(row[side], number, side) for side in SIDES}}
    fields = ("prompt", *SIDES)
    return {**row, **{name: _messages(row[name]) for name in fields if name in row}}


def _with_prompt(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The prompt where it is called `instruction` (with an `input`) or `conversations`."""
    if row.get("prompt") is not None:
        return row
    if isinstance(row.get("conversations"), list):
        sides = {s: [row[s]] if isinstance(row[s], Mapping) else row[s] for s in SIDES}
        return {**row, **sides, "prompt": row["conversations"]}
    if isinstance(row.get("instruction"), str):
        return {**row, "prompt": "\n\n".join(filter(None, (row["instruction"], row.get("input"))))}
    return row


def _refuse(row: Mapping[str, Any], number: int) -> None:
    """Refuse a row whose format is known and holds no pair."""
    if "completions" in row and "instruction" in row:
        raise InputError(
            f"Row {number} is raw UltraFeedback (instruction, completions with scores); read the "
            f"binarized data set (data=ultrafeedback), or {PAIRS}."
        )
    if isinstance(row.get("answers"), list) and "prompt" in row:
        raise InputError(
            f"Row {number} is a ranking of {len(row['answers'])} answers, as in Nectar; choose the "
            f"pairs to compare (such as the first against the last) and {PAIRS}."
        )
    if "completion" in row and "label" in row:
        raise InputError(
            f"Row {number} rates one answer (completion, label), as for KTO; the methods here "
            f"compare two answers to one prompt, so match a liked with a disliked one and {PAIRS}."
        )
    if "chosen" not in row and "rejected" not in row:
        raise InputError(
            f"Row {number} has the columns {', '.join(sorted(map(str, row)))}; chosen and rejected "
            "are needed, so say which columns they are, such as "
            "'data.columns={prompt: question, chosen: better, rejected: worse}'."
        )


def _is_transcript(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("\n\nHuman:")


def turns(text: str, number: int, side: str) -> list[dict[str, str]]:
    """An HH-RLHF transcript as messages; its last turn must be the assistant's."""
    parts = TURN.split(text)[1:]
    roles = ["user" if who == "Human" else "assistant" for who in parts[::2]]
    found = [
        {"role": role, "content": words.strip()}
        for role, words in zip(roles, parts[1::2], strict=True)
    ]
    if found[-1]["role"] != "assistant":
        raise InputError(
            f"Row {number}: the transcript in {side!r} does not end with a turn of the assistant; "
            "there is no answer to compare, so leave the row out."
        )
    return found


def _messages(value: Any) -> Any:
    """`from/value` turns as `role/content`; anything else as it is."""
    if not isinstance(value, list):
        return value
    return [
        {"role": ROLES.get(str(m["from"]), str(m["from"])), "content": m["value"]}
        if isinstance(m, Mapping) and "from" in m and "value" in m
        else m
        for m in value
    ]
