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


@dataclass
class StreamCollator:
    """Stacks the stored streams of rows; all rows must hold as many responses of a stream.

    Adds the prompts, padded on the left (`prompt_ids`, `prompt_mask`), for what is sampled at a step. With
    `packed`, the sequences are one pack of trees (:mod:`llm.data.trees`) instead of padded rows.
    """

    pad_id: int
    streams: tuple[Stream, ...]
    packed: bool = False

    @property
    def stored(self) -> list[Stream]:
        """The streams that lie in the rows."""
        return [s for s in self.streams if s.when != "step"]

    def sizes(self, rows: Sequence[Row]) -> list[int]:
        """Tokens that each of `rows` takes in a pass."""
        return sizes([self._tree(r) for r in rows], self.packed)

    def __call__(self, rows: Sequence[Row]) -> Tensors:
        """One batch."""
        stored = self.stored
        batch = self._prompts(rows)
        if any(row.row_weight != 1 for row in rows):
            batch[ROW_WEIGHT] = _wide([row.row_weight for row in rows])
        if stored:
            batch |= self._pack(rows) if self.packed else self._sequences(rows)
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

    def _tree(self, row: Row) -> Tree:
        return tree(row, [s.name for s in self.stored])

    def _pack(self, rows: Sequence[Row]) -> Tensors:
        trees = [self._tree(r) for r in rows]
        lengths = torch.tensor([[len(y) for y in tree.responses] for tree in trees])
        return {**pack(trees).tensors(), "lengths": lengths.T.flatten()}

    def _sequences(self, rows: Sequence[Row]) -> Tensors:
        columns = [(s.name, k) for s in self.stored for k in range(len(rows[0].responses[s.name]))]
        responses = [r.responses[name][k] for name, k in columns for r in rows]
        return pad([r.prompt for r in rows] * len(columns), responses, self.pad_id)


def tree(row: Row, names: Sequence[str]) -> Tree:
    """A row with its responses of the streams `names`."""
    return Tree(row.prompt, tuple(y for name in names for y in row.responses[name]))


def sizes(trees: Sequence[Tree], packed: bool) -> list[int]:
    """Tokens of each row in a pass over some of `trees`: its own, or padded to the longest of them all."""
    if packed:
        return [tree.tokens for tree in trees]
    longest = max(len(tree.prompt) + max(map(len, tree.responses)) for tree in trees)
    return [len(tree.responses) * longest for tree in trees]


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
    logp, length = (_cut(values, order, rows) for values in (logps, lengths(inputs)))
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


def lengths(inputs: Tensors) -> Tensor:
    """Tokens of each response, `(Σ K B,)`."""
    return inputs["lengths"] if "lengths" in inputs else inputs["completion_mask"].sum(-1)


def _cut(values: Tensor, order: Sequence[Stream], rows: int) -> dict[str, Tensor]:
    """`(Σ K B, …)` in the order of a batch as `(B, K, …)` of each stream."""
    blocks = torch.split(values.view(-1, rows, *values.shape[1:]), [s.count or 0 for s in order])
    return {s.name: block.transpose(0, 1) for s, block in zip(order, blocks, strict=True)}


@dataclass(frozen=True)
class DemonstrationCollator:
    """Rows with `prompt_ids` and `response_ids`, for supervised fine-tuning; `packed` as above."""

    pad_id: int
    packed: bool = False

    def sizes(self, rows: Sequence[Mapping[str, Any]]) -> list[int]:
        """Tokens that each of `rows` takes in a pass."""
        return sizes(self._trees(rows), self.packed)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Tensors:
        """Stack `rows`."""
        trees = self._trees(rows)
        if self.packed:
            lengths = torch.tensor([len(tree.responses[0]) for tree in trees])
            return {**pack(trees).tensors(), "lengths": lengths}
        return pad([t.prompt for t in trees], [t.responses[0] for t in trees], self.pad_id)

    def _trees(self, rows: Sequence[Mapping[str, Any]]) -> list[Tree]:
        return [Tree(row["prompt_ids"], (row["response_ids"],)) for row in rows]
