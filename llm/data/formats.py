"""Preference rows as the ecosystem writes them, brought to one form.

Accepted: `prompt/chosen/rejected` as plain strings; as message lists (prompt messages, and one
assistant message a response); and as published in UltraFeedback-binarized, where `chosen` and
`rejected` repeat the whole conversation. Sources: JSONL, Parquet, a folder written by
`datasets.save_to_disk`, or a hub name. Other formats are known by name, see :mod:`llm.data.known`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm.data import known
from llm.data.lines import read_lines
from spac_theory.checks import InputError

FILES = (".jsonl", ".json", ".parquet")
Message = dict[str, str]
Prompt = str | list[Message]


@dataclass(frozen=True)
class PreferenceRow:
    """A prompt (plain text or a conversation) with a preferred and a dispreferred answer."""

    prompt: Prompt
    chosen: str
    rejected: str


def load(source: str, split: str, revision: str | None = None) -> list[dict[str, Any]]:
    """Raw rows of `source`: a `.jsonl`, `.json` or `.parquet` file, a saved dataset, or a hub name."""
    path = Path(source).expanduser()
    if path.suffix in FILES:
        return [row for _, row in read_lines("data.source", path)]
    return _load_dataset(source, path, split, revision)


def _load_dataset(
    source: str, path: Path, split: str, revision: str | None
) -> list[dict[str, Any]]:
    import datasets

    try:
        if path.is_dir():
            data = datasets.load_from_disk(str(path))
        else:
            data = datasets.load_dataset(source, revision=revision)
    except Exception as error:
        raise InputError(
            f"data.source is {source!r}; it must be a .jsonl, .json or .parquet file, a folder written by "
            f"datasets.save_to_disk, or a reachable hub dataset ({type(error).__name__})."
        ) from error
    if isinstance(data, datasets.DatasetDict):
        if split not in data:
            raise InputError(
                f"data.split is {split!r}; {source} has the splits: {', '.join(sorted(data))}."
            )
        data = data[split]
    return list(data)


def normalise(row: Any, number: int) -> PreferenceRow:
    """Bring raw row `number` to a :class:`PreferenceRow`, or refuse it in one sentence."""
    if not isinstance(row, dict):
        raise InputError(f"Row {number} is {row!r:.60}; it must be an object with named fields.")
    row = known.recognised(row, number)
    for field in ("chosen", "rejected"):
        if row.get(field) is None:
            raise InputError(f"Row {number} has no {field!r}; every row must have one.")
    prompt, chosen = _split(row.get("prompt"), row["chosen"], number, "chosen")
    other, rejected = _split(row.get("prompt"), row["rejected"], number, "rejected")
    if prompt != other:
        raise InputError(
            f"Row {number}: chosen and rejected answer different conversations; both must repeat "
            "the same prompt."
        )
    return PreferenceRow(prompt, chosen, rejected)


def _split(prompt: Any, response: Any, number: int, field: str) -> tuple[Prompt, str]:
    """Prompt and answer of one side of a row."""
    if isinstance(response, str):
        if isinstance(prompt, list):
            return _messages(prompt, number, "prompt"), response
        if isinstance(prompt, str):
            return prompt, response
        raise InputError(f"Row {number} has no 'prompt'; a plain row must have one.")
    turns = _messages(response, number, field)
    if not turns or turns[-1]["role"] != "assistant":
        raise InputError(
            f"Row {number}: the last message of {field!r} must have the role 'assistant'."
        )
    if len(turns) == 1:
        if isinstance(prompt, list):
            return _messages(prompt, number, "prompt"), turns[0]["content"]
        if isinstance(prompt, str):
            return [{"role": "user", "content": prompt}], turns[0]["content"]
        raise InputError(f"Row {number} has no 'prompt' and {field!r} holds only the answer.")
    return turns[:-1], turns[-1]["content"]


def _messages(value: Any, number: int, field: str) -> list[Message]:
    if not isinstance(value, list):
        raise InputError(
            f"Row {number}: {field!r} is {value!r:.40}; it must be text or a list of messages."
        )
    for message in value:
        known = isinstance(message, dict) and isinstance(message.get("content"), str)
        if not known or message.get("role") not in ("system", "user", "assistant"):
            raise InputError(
                f"Row {number}: {field!r} holds {message!r:.60}; a message must have a role "
                "(system, user or assistant) and a text content."
            )
    return [{"role": m["role"], "content": m["content"]} for m in value]
