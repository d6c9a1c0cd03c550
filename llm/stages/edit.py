"""The edit stage: a stream's responses with more and more of their key phrases taken out (SPO)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llm.data.rake import Span, key_phrases, without
from llm.data.row import Row
from llm.files import processes
from llm.files.digests import write_rows
from llm.methods import Stream
from llm.worlds.language import FLATTERING, Language
from llm.worlds.world import SYMBOLS, World

Keys = Callable[[str, str], list[Span]]


def keys_of(language: World | None) -> Keys:
    """Where the key content of a response is, the most telling first: the flattering symbols, or RAKE."""
    if not isinstance(language, Language):
        return lambda prompt, text: key_phrases(text)

    def flattering(prompt: str, text: str) -> list[Span]:
        mood = next((word for word in prompt.split() if word in FLATTERING), None)
        telling = {SYMBOLS[i] for i in FLATTERING[mood]} if mood else set()
        found, place = list[Span](), 0
        for word in text.split():
            start = text.index(word, place)
            place = start + len(word)
            if word in telling:
                found.append((start, place))
        return found

    return flattering


def levels_of(text: str, spans: Sequence[Span], levels: int) -> list[str]:
    """`text` without the first `j/levels` of its key content, for `j = 1 … levels − 1`."""
    cuts = [math.ceil(j * len(spans) / levels) for j in range(1, levels)]
    return [without(text, list(spans[:count])) for count in cuts]


def edit(
    folder: Path, stream: Stream, rows: Sequence[Row], tokenizer: Any, keys: Keys
) -> dict[str, Any]:
    """Stage: write `samples.parquet` with `ids/<stream>`, a list a level, each ended as the response was."""
    if processes.is_main():
        assert stream.of is not None
        eos, made = tokenizer.eos_token_id, []
        for row in rows:
            (ids,) = row.responses[stream.of]
            whole, ended = list(ids), list(ids[-1:]) == [eos]
            text = tokenizer.decode(whole[:-1] if ended else whole)
            spans = keys(tokenizer.decode(list(row.prompt)), text)
            edits = [
                tokenizer(t, add_special_tokens=False)["input_ids"] + [eos] * ended
                for t in levels_of(text, spans, (stream.count or 0) + 1)
            ]
            made.append({f"ids/{stream.name}": [ids or [eos] for ids in edits]})
        write_rows(folder / "samples.parquet", made)
    processes.barrier()
    return {"samples": "samples.parquet"}
