"""The sample stage: `K` responses of one stream at every prompt, seeded, in parts that resume."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

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
    target = folder / "samples.parquet"
    if not target.exists():
        live: list[Engine] = []

        def make(number: int, span: range) -> Rows:
            if not live:
                live.append(engine())
            answers = live[0]([rows[i].prompt for i in span], part_seed(key, number))
            bar.tokens += sum(len(y) for a in answers for y in a)
            return [
                {f"ids/{stream}": a, "stopped": [list(y[-1:]) == [eos] for y in a]} for a in answers
            ]

        with Progress(f"samples {key}", len(rows)) as bar:
            for count in make_parts(folder / "parts", len(rows), settings.batch, make):
                bar.advance(count)
    join_parts(folder / "parts", len(rows), settings.batch, target)
    return {"samples": target.name, "settings": asdict(settings)}
