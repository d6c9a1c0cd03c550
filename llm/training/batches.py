"""How native rows become a batch of token ids, and what a loss reads of it.

A batch lists the sequences of `B` rows stream by stream: `B` chosen, `B` rejected, then `K·B` own
samples (sample 1 of every row, then sample 2, …), all padded on the right. Everything else that rows
know lies beside them as tensors, under the column names of :mod:`llm.data.row`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from llm.data.padding import pad
from llm.data.row import Row, logp_column
from llm.data.trees import Tree, pack
from llm.methods import LIVE, Batch, Stream

Tensors = dict[str, Tensor]
SEQUENCES = ("input_ids", "attention_mask", "completion_mask")
ROW_WEIGHT = "row_weight"  # there only where a row of the batch counts other than once


@dataclass(frozen=True)
class StreamCollator:
    """Stacks the stored streams of rows; all rows must hold as many responses of a stream.

    Adds the prompts, padded on the left (`prompt_ids`, `prompt_mask`), for what is sampled at a step. With
    `packed`, the sequences are one pack of trees (:mod:`llm.data.trees`) instead of padded rows.
    """

    pad_id: int
    streams: tuple[Stream, ...]
    packed: bool = False

    def __call__(self, rows: Sequence[Row]) -> Tensors:
        """One batch."""
        stored = [s for s in self.streams if s.when != "step"]
        batch = self._prompts(rows)
        if any(row.row_weight != 1 for row in rows):
            batch[ROW_WEIGHT] = _wide([row.row_weight for row in rows])
        if stored:
            make = self._pack if self.packed else self._sequences
            batch |= make(rows, [s.name for s in stored])
        for stream in stored:
            name = stream.name
            for anchor in set(stream.anchors) - set(LIVE):
                batch[logp_column(anchor, name)] = _wide([r.logp[anchor][name] for r in rows])
            for kind in ("score", "wins", "weight"):
                if name in getattr(rows[0], kind):
                    batch[f"{kind}/{name}"] = _wide([getattr(r, kind)[name] for r in rows])
        return batch

    def _prompts(self, rows: Sequence[Row]) -> Tensors:
        width = max(len(r.prompt) for r in rows)
        lengths = torch.tensor([len(r.prompt) for r in rows]).unsqueeze(-1)
        ids = [[self.pad_id] * (width - len(r.prompt)) + list(r.prompt) for r in rows]
        mask = torch.arange(width) >= width - lengths
        return {"prompt_ids": torch.tensor(ids), "prompt_mask": mask.long()}

    def _pack(self, rows: Sequence[Row], names: Sequence[str]) -> Tensors:
        trees = [
            Tree(r.prompt, tuple(y for name in names for y in r.responses[name])) for r in rows
        ]
        lengths = torch.tensor([[len(y) for y in tree.responses] for tree in trees])
        return {**pack(trees).tensors(), "lengths": lengths.T.flatten()}

    def _sequences(self, rows: Sequence[Row], names: Sequence[str]) -> Tensors:
        columns = [(name, k) for name in names for k in range(len(rows[0].responses[name]))]
        responses = [r.responses[name][k] for name, k in columns for r in rows]
        return pad([r.prompt for r in rows] * len(columns), responses, self.pad_id)


def _wide(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def join(batch: Tensors, more: Tensors, pad_id: int) -> Tensors:
    """`batch` with the sequences of `more` below its own, and its other entries."""
    out = {**batch, **more}
    for name in SEQUENCES:
        blocks = [b[name] for b in (batch, more) if name in b]
        width = max(block.shape[1] for block in blocks)
        fill = pad_id if name == "input_ids" else 0
        out[name] = torch.cat(
            [torch.nn.functional.pad(b, (0, width - b.shape[1]), value=fill) for b in blocks]
        )
    return out


def read(inputs: Tensors, logps: Tensor, streams: Sequence[Stream]) -> Batch:
    """What the loss sees: `logps (Σ K B,)` and the other entries of a batch, cut up by stream.

    The stored streams come first, then those sampled at the step, as :func:`join` puts them.
    """
    order = sorted(streams, key=lambda s: s.when == "step")
    rows = len(inputs["prompt_ids"])
    tokens = inputs["lengths"] if "lengths" in inputs else inputs["completion_mask"].sum(-1)
    logp, length = (_cut(values, order, rows) for values in (logps, tokens))
    anchors: dict[str, dict[str, Tensor]] = {}
    for stream in streams:
        for anchor in stream.anchors:
            values = inputs[logp_column(anchor, stream.name)].to(logps.dtype)
            anchors.setdefault(anchor, {})[stream.name] = values
    told = {s.name: _cut(inputs[f"told/{s.head}"], order, rows)[s.name] for s in order if s.head}
    rest = {
        kind: {
            s.name: inputs[f"{kind}/{s.name}"].to(logps.dtype)
            for s in streams
            if f"{kind}/{s.name}" in inputs
        }
        for kind in ("score", "wins", "weight")
    }
    return Batch(logp, length, anchors, **rest, told=told)


def _cut(values: Tensor, order: Sequence[Stream], rows: int) -> dict[str, Tensor]:
    """`(Σ K B, …)` in the order of a batch as `(B, K, …)` of each stream."""
    blocks = torch.split(values.view(-1, rows, *values.shape[1:]), [s.count or 0 for s in order])
    return {s.name: block.transpose(0, 1) for s, block in zip(order, blocks, strict=True)}


@dataclass(frozen=True)
class DemonstrationCollator:
    """Rows with `prompt_ids` and `response_ids`, for supervised fine-tuning."""

    pad_id: int

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Tensors:
        """Stack `rows`."""
        prompts = [row["prompt_ids"] for row in rows]
        return pad(prompts, [row["response_ids"] for row in rows], self.pad_id)
