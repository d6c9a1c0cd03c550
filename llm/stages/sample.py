"""The sample stage: `K` responses of one stream at every prompt, seeded, in parts that resume.

Prompts of like length share a part, the longest first; `samples.parquet` has the order of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llm.data.padding import by_length, put_back
from llm.data.row import Row
from llm.files.digests import Rows
from llm.files.parts import join_parts, make_parts, part_seed
from llm.files.progress import Progress
from llm.models.engines import Engine, GenerationSettings


def sample(
    folder: Path,
    stream: str,
    rows: Sequence[Row],
    engine: Callable[[], Engine],
    settings: GenerationSettings,
    eos: int,
    key: str,
) -> dict[str, Any]:
    """Stage: write `samples.parquet` with `ids/<stream>` (K lists a row) and `stopped`.

    `engine` is called once, when a part is missing, to make the :class:`Engine`. Interrupted, it
    loses at most the part it was at.
    """
    target, parts = folder / "samples.parquet", folder / "parts-by-length"
    order, size = by_length([row.prompt for row in rows]), settings.batch
    if not target.exists():
        live: list[Engine] = []

        def make(number: int, span: range) -> Rows:
            if not live:
                live.append(engine())
            prompts = [rows[order[i]].prompt for i in span]
            answers = live[0](prompts, part_seed(key, number))
            bar.tokens += sum(len(y) for a in answers for y in a)
            return [
                {f"ids/{stream}": a, "stopped": [list(y[-1:]) == [eos] for y in a]} for a in answers
            ]

        with Progress(f"samples {key}", len(rows)) as bar:
            for count in make_parts(parts, len(rows), size, make):
                bar.advance(count)
    join_parts(parts, len(rows), size, target, lambda found: put_back(found, order))
    return {"samples": target.name, "settings": asdict(settings)}
