"""The reference pass: `log π_a` of every stream under the frozen policies that the loss asks for.

Log-probs are stored with the rows, so that one network trains. The product is the native row of this
package (:mod:`llm.data.row`), responses of all streams with everything known of them: `streams.parquet`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from llm.data.padding import Ids, each_once, pad
from llm.data.row import Row, logp_column, write_native
from llm.data.trees import Tree, fill, pack
from llm.files import processes
from llm.files.digests import Rows, read_rows
from llm.files.parts import join_parts, make_parts
from llm.files.progress import Progress
from llm.methods import Stream
from llm.models.load import ModelSettings, load_model
from llm.models.logprobs import pack_logps, sequence_logps, with_logps
from llm.models.packs import with_packs

PACK_TOKENS = 4096

Columns = list[dict[str, list[float]]]


def asked(streams: Sequence[Stream]) -> dict[str, list[str]]:
    """The streams each frozen policy is asked about, of those that are stored."""
    found: dict[str, list[str]] = {}
    for stream in streams:
        if stream.when == "round":
            for anchor in stream.anchors:
                found.setdefault(anchor, []).append(stream.name)
    return found


@torch.no_grad()
def score(
    model: Any, rows: Sequence[Row], names: Sequence[str], pad_id: int, packed: bool = False
) -> Columns:
    """`log π` of every response of the streams `names`: for each row, a list a stream.

    With `packed`, rows go through the model as packs of trees of up to `PACK_TOKENS` tokens.
    """
    found = _packed(model, rows, names) if packed else _padded(model, rows, names, pad_id)
    values = iter(found)
    return [{name: [next(values) for _ in r.responses[name]] for name in names} for r in rows]


def _packed(model: Any, rows: Sequence[Row], names: Sequence[str]) -> list[float]:
    device = next(model.parameters()).device
    trees = [Tree(r.prompt, tuple(y for name in names for y in r.responses[name])) for r in rows]
    values: dict[int, list[float]] = {}
    for part in fill([tree.tokens for tree in trees], PACK_TOKENS):
        logps = iter(pack_logps(model, pack([trees[i] for i in part]).to(device)).tolist())
        values |= {i: [next(logps) for _ in trees[i].responses] for i in part}
    return [v for i in range(len(trees)) for v in values[i]]


def _padded(model: Any, rows: Sequence[Row], names: Sequence[str], pad_id: int) -> list[float]:
    prompts = [r.prompt for r in rows for name in names for _ in r.responses[name]]
    responses = [y for r in rows for name in names for y in r.responses[name]]
    device = next(model.parameters()).device

    def logps(prompts: list[Ids], responses: list[Ids]) -> list[float]:
        batch = pad(prompts, responses, pad_id)
        ids, attention, completion = (tensor.to(device) for tensor in batch.values())
        found: list[float] = sequence_logps(model, ids, attention, completion).tolist()
        return found

    return each_once(prompts, responses, logps)


def reference(
    folder: Path,
    rows: Sequence[Row],
    streams: Sequence[Stream],
    anchors: Mapping[str, str],
    model: ModelSettings,
    pad_id: int,
    batch: int,
    packing: bool = False,
) -> dict[str, Any]:
    """Stage: write `streams.parquet`, the rows with `log π_a`; `anchors` says where each `π_a` lies."""
    target = folder / "streams.parquet"
    if not target.exists():
        for anchor, names in asked(streams).items():
            _ask(folder, rows, anchor, names, anchors[anchor], model, pad_id, batch, packing)
        processes.barrier()
        if processes.is_main():
            write_native(target, _joined(folder, rows, list(asked(streams))))
    if processes.is_main():
        for anchor in asked(streams):
            (folder / f"{anchor}.parquet").unlink(missing_ok=True)
    return {"streams": target.name}


def _ask(
    folder: Path,
    rows: Sequence[Row],
    anchor: str,
    names: list[str],
    path: str,
    model: ModelSettings,
    pad_id: int,
    batch: int,
    packing: bool,
) -> None:
    """Write `<anchor>.parquet`, the log-probs of the streams `names` under the policy at `path`."""
    target, parts = folder / f"{anchor}.parquet", folder / f"parts-{anchor}"
    if not target.exists():
        live: list[Any] = []

        def make(number: int, span: range) -> Rows:
            if not live:
                ready = with_logps(load_model(path, model).to(processes.device()).eval())
                live.extend((ready, packing and with_packs(ready)))
            found = score(live[0], [rows[i] for i in span], names, pad_id, live[1])
            bar.tokens += sum(
                len(rows[i].prompt) + len(y)
                for i in span
                for name in names
                for y in rows[i].responses[name]
            )
            return [{logp_column(anchor, name): v for name, v in row.items()} for row in found]

        with Progress(f"reference {folder.parent.name}, {anchor}", len(rows)) as bar:
            for count in make_parts(parts, len(rows), batch, make):
                bar.advance(count)
    join_parts(parts, len(rows), batch, target)


def _joined(folder: Path, rows: Sequence[Row], anchors: Sequence[str]) -> list[Row]:
    """The rows with the columns of all frozen policies."""
    records = [row.record() for row in rows]
    for anchor in anchors:
        for record, logps in zip(records, read_rows(folder / f"{anchor}.parquet"), strict=True):
            record |= logps
    return [Row.of(record) for record in records]
