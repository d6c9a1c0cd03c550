"""The reference pass: `log π_a` of every stream under the frozen policies that the loss asks for.

Log-probs are stored with the rows, so that one network trains. The product is the native row of this
package (:mod:`llm.data.row`), responses of all streams with everything known of them: `streams.parquet`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from llm.data.padding import Ids, each_once, pad
from llm.data.row import Row, logp_column, write_native
from llm.files import processes
from llm.files.digests import Rows, read_rows
from llm.files.parts import join_parts, make_parts
from llm.files.progress import Progress
from llm.methods import LIVE, Stream
from llm.models.load import ModelSettings, load_frozen
from llm.models.logprobs import pack_logps, sequence_logps, with_logps
from llm.models.packs import PACK_TOKENS as PACK_TOKENS
from llm.models.packs import over_packs, with_packs
from llm.training.batches import tree

DATA = ("chosen", "rejected")

Columns = list[dict[str, list[float]]]


@dataclass(frozen=True)
class Shelf:
    """Where the start's log-probs of the data's answers are kept: the same for all methods and rounds.

    `start` is the path of `π_1`; `folder` is named by all that the numbers depend on.
    """

    start: str
    folder: Path


def asked(streams: Sequence[Stream]) -> dict[str, list[str]]:
    """The streams each frozen policy is asked about, of those that are stored."""
    found: dict[str, list[str]] = {}
    for stream in streams:
        if stream.when != "step":
            for anchor in (a for a in stream.anchors if a not in LIVE):
                found.setdefault(anchor, []).append(stream.name)
    return found


@torch.no_grad()
def score(
    model: Any, rows: Sequence[Row], names: Sequence[str], pad_id: int, tokens: int = 0
) -> Columns:
    """`log π` of every response of the streams `names`: for each row, a list a stream.

    With `tokens`, rows go through a model that reads packs as packs of at most so many tokens.
    """
    if tokens:
        trees = [tree(row, names) for row in rows]
        found = over_packs(model, trees, tokens, partial(pack_logps, model)).tolist()
    else:
        found = _padded(model, rows, names, pad_id)
    values = iter(found)
    return [{name: [next(values) for _ in r.responses[name]] for name in names} for r in rows]


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
    tokens: int = 0,
    shelf: Shelf | None = None,
) -> dict[str, Any]:
    """Stage: write `streams.parquet`, the rows with `log π_a`; `anchors` says where each `π_a` lies.

    With `tokens`, rows are scored in packs of so many tokens where the model can.
    """
    target = folder / "streams.parquet"
    if not target.exists():
        found: list[tuple[str, Path]] = []
        for anchor, names in asked(streams).items():
            path = anchors[anchor]
            for place, part in _places(names, folder / anchor, shelf, path):
                _ask(place, rows, part, path, model, pad_id, batch, tokens)
                found.append((anchor, place.with_suffix(".parquet")))
        processes.barrier()
        if processes.is_main():
            write_native(target, _joined(rows, found))
    if processes.is_main():
        for anchor in asked(streams):
            (folder / f"{anchor}.parquet").unlink(missing_ok=True)
    return {"streams": target.name}


def _places(
    names: list[str], own: Path, shelf: Shelf | None, path: str
) -> list[tuple[Path, list[str]]]:
    """Which file holds the log-probs of which streams: the data's under `π_1` lie on the shelf."""
    shared = [name for name in names if name in DATA] if shelf and path == shelf.start else []
    rest = [name for name in names if name not in shared]
    places = [(own, rest)] if rest else []
    return [*([(shelf.folder / "-".join(shared), shared)] if shelf and shared else []), *places]


def _ask(
    place: Path,
    rows: Sequence[Row],
    names: list[str],
    path: str,
    model: ModelSettings,
    pad_id: int,
    batch: int,
    tokens: int,
) -> None:
    """Write `<place>.parquet`, the log-probs of the streams `names` under the policy at `path`."""
    target, parts = place.with_suffix(".parquet"), place.with_name(f"parts-{place.name}")
    if not target.exists():
        live: list[Any] = []

        def make(number: int, span: range) -> Rows:
            if not live:
                ready = with_logps(load_frozen(path, model).to(processes.device()).eval())
                live.extend((ready, tokens if tokens and with_packs(ready) else 0))
            found = score(live[0], [rows[i] for i in span], names, pad_id, live[1])
            bar.tokens += sum(
                len(rows[i].prompt) + len(y)
                for i in span
                for name in names
                for y in rows[i].responses[name]
            )
            return [dict(row) for row in found]

        with Progress(f"reference {place.parent.parent.name}, {place.name}", len(rows)) as bar:
            for count in make_parts(parts, len(rows), batch, make):
                bar.advance(count)
    join_parts(parts, len(rows), batch, target)


def _joined(rows: Sequence[Row], files: Sequence[tuple[str, Path]]) -> list[Row]:
    """The rows with the columns of all frozen policies."""
    records = [row.record() for row in rows]
    for anchor, file in files:
        for record, logps in zip(records, read_rows(file), strict=True):
            record |= {logp_column(anchor, name): v for name, v in logps.items()}
    return [Row.of(record) for record in records]
