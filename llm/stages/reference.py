"""The reference pass: `log π_ref` of all streams, stored with the rows, so one network trains.

Its product is the native row of this package, `(prompt, chosen, rejected, self-play)` with the
reference's log-probs: `streams.parquet`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from llm.files import processes
from llm.files.digests import Rows
from llm.files.parts import join_parts, make_parts
from llm.files.progress import Progress
from llm.models.load import ModelSettings, load_model
from llm.models.logprobs import sequence_logps, with_logps
from llm.training.batches import pad


@torch.no_grad()
def score(model: Any, rows: Rows, pad_id: int) -> list[list[float]]:
    """`log π` of chosen, rejected and every self-play sample of `rows`: one list a row."""
    streams = [[r["chosen_ids"], r["rejected_ids"], *r["selfplay_ids"]] for r in rows]
    width = len(streams[0])
    prompts = [r["prompt_ids"] for r in rows for _ in range(width)]
    batch = pad(prompts, [y for ys in streams for y in ys], pad_id)
    device = next(model.parameters()).device
    ids, attention, completion = (tensor.to(device) for tensor in batch.values())
    values = sequence_logps(model, ids, attention, completion)
    table: list[list[float]] = values.view(len(rows), width).tolist()
    return table


def reference(
    folder: Path,
    rows: Rows,
    selfplay: Rows | None,
    path: str,
    model: ModelSettings,
    pad_id: int,
    batch: int,
) -> dict[str, Any]:
    """Stage: write `streams.parquet`. `selfplay` None means no third stream."""
    target = folder / "streams.parquet"
    if not target.exists():
        live: list[Any] = []

        def make(number: int, span: range) -> Rows:
            if not live:
                live.append(with_logps(load_model(path, model).to(processes.device()).eval()))
            part = [dict(rows[i], selfplay_ids=_samples(selfplay, i)) for i in span]
            for row, logps in zip(part, score(live[0], part, pad_id), strict=True):
                row["ref_chosen_logps"], row["ref_rejected_logps"] = logps[:2]
                row["ref_selfplay_logps"] = logps[2:]
            return part

        with Progress(f"reference {folder.parent.name}", len(rows)) as bar:
            for count in make_parts(folder / "parts", len(rows), batch, make):
                bar.advance(count)
    join_parts(folder / "parts", len(rows), batch, target)
    return {"streams": target.name}


def _samples(selfplay: Rows | None, i: int) -> list[list[int]]:
    return [] if selfplay is None else selfplay[i]["selfplay_ids"]
