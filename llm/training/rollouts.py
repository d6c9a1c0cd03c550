"""Responses drawn at every step, with the weights of that step; exact on resume.

The draws of a step depend on the run's key, the number of the step, the process and the micro-batch
and on nothing else, so a run killed and resumed sees the responses it would have seen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from llm.data.padding import pad
from llm.data.row import Row, logp_column
from llm.files import processes
from llm.files.parts import part_seed
from llm.methods import LIVE, Stream
from llm.models.decoding import Mixed
from llm.models.engines import Ends, GenerationSettings, draw
from llm.models.logprobs import causal_model, sequence_logps, with_logps
from llm.training.batches import Tensors, join
from llm.training.given import Given
from llm.training.passes import WEIGHTLESS

Frozen = Callable[[nn.Module], contextlib.AbstractContextManager[nn.Module]]
Answers = list[list[list[int]]]
Label = Callable[[Sequence[Row], Stream, int], list[Any]]


def copy_of(load: Callable[[], Any]) -> Frozen:
    """A frozen policy with weights of its own, loaded when it is first asked."""
    live: list[Any] = []

    @contextlib.contextmanager
    def frozen(_: nn.Module) -> Iterator[nn.Module]:
        if not live:
            live.append(with_logps(load().to(processes.device()).eval()))
        yield live[0]

    return frozen


def adapter_off() -> Frozen:
    """`π_1` as the base under the adapters being trained: no second copy of the weights."""

    @contextlib.contextmanager
    def frozen(model: Any) -> Iterator[nn.Module]:
        with model.disable_adapter():
            yield model

    return frozen


@dataclass(frozen=True)
class Rollouts:
    """Adds the streams of a step to a batch: sequences, their `log π_a` under `anchors`, their labels.

    `label` answers for rows and a stream, seeded; what was drawn and asked is counted in `given`.
    """

    streams: tuple[Stream, ...]
    anchors: dict[str, Frozen]
    generation: GenerationSettings
    ends: Ends
    chunk: int
    key: str
    label: Label | None = None
    given: Given = field(default_factory=Given)

    def __call__(self, model: nn.Module, batch: Tensors, step: int, number: int) -> Tensors:
        """`batch` (micro-batch `number` of step `step`) with every stream of the step."""
        training = model.training
        devices = range(torch.cuda.device_count())
        rows = [Row(prompt, {}) for prompt in prompts_of(batch)]
        device = batch["prompt_ids"].device
        with torch.random.fork_rng(devices), torch.no_grad():
            model.eval()
            for stream in self.streams:
                place = (stream.name, step, processes.rank(), number)
                answers = self._answers(model, rows, stream, part_seed(self.key, *place))
                for row, ys in zip(rows, answers, strict=True):
                    row.responses[stream.name] = [*ys]
                more = self._scored(model, rows, stream, device)
                more |= self._labels(rows, stream, part_seed(self.key, "labels", *place), device)
                batch = join(batch, more, self.ends.pad)
        model.train(training)
        return self._read(batch, len(rows))

    def _answers(self, model: nn.Module, rows: list[Row], stream: Stream, seed: int) -> Answers:
        """What the writer of a stream says to the prompts."""
        settings = replace(self.generation, samples=stream.count or 1)
        prompts = [row.prompt for row in rows]
        self.given.samples += len(rows) * settings.samples
        with self._writer(model, stream) as writer, self._beside(model, stream, prompts) as mixed:
            return draw(generator(writer), prompts, settings, self.ends, seed, mixed)

    def _scored(
        self, model: nn.Module, rows: list[Row], stream: Stream, device: torch.device
    ) -> Tensors:
        """The sequences of a stream, in the order of a batch, and their `log π_a`."""
        columns = range(stream.count or 1)
        responses = [row.responses[stream.name][k] for k in columns for row in rows]
        more = pad([row.prompt for row in rows] * len(columns), responses, self.ends.pad)
        more = {name: tensor.to(device) for name, tensor in more.items()}
        sequences = (more["input_ids"], more["attention_mask"], more["completion_mask"])
        for anchor in stream.anchors:
            with self.anchors[anchor](model) as frozen:
                values = sequence_logps(frozen, *sequences, chunk=self.chunk)
            more[logp_column(anchor, stream.name)] = _columns(values, len(columns))
        return more

    def _labels(self, rows: list[Row], stream: Stream, seed: int, device: torch.device) -> Tensors:
        """What the judge says of a stream."""
        if stream.labels is None:
            return {}
        assert self.label is not None
        rival = next((s.count for s in self.streams if s.name == stream.against), None)
        self.given.labels += len(rows) * labels_a_row(stream, rival)
        kind = "score" if stream.labels == "score" else "wins"
        found = torch.tensor(self.label(rows, stream, seed), dtype=torch.float64)
        return {f"{kind}/{stream.name}": found.to(device)}

    def _read(self, batch: Tensors, rows: int) -> Tensors:
        """The batch without the rows that have a label nobody could read, which is NaN."""
        bad = torch.zeros(rows, dtype=torch.bool)
        for name, values in batch.items():
            if name.startswith(("score/", "wins/")):
                bad |= values.isnan().flatten(1).any(-1).cpu()
        self.given.failures += int(bad.sum())
        if bad.all():  # nothing to learn here: any labels may stand in, the rows weigh nothing
            return {n: v.nan_to_num(0.5) for n, v in batch.items()} | {WEIGHTLESS: bad.any()}
        keep = ~bad
        return {name: _kept(values, keep) for name, values in batch.items()}

    def _writer(
        self, model: nn.Module, stream: Stream
    ) -> contextlib.AbstractContextManager[nn.Module]:
        if stream.source == "current":
            return contextlib.nullcontext(model)
        return self.anchors[stream.source](model)

    @contextlib.contextmanager
    def _beside(
        self, model: nn.Module, stream: Stream, prompts: Sequence[Sequence[int]]
    ) -> Iterator[Mixed | None]:
        """`π_1` writing along with the writer, where a stream has a pull."""
        if not stream.pull:
            yield None
            return
        frozen = self.anchors["initial"]

        @contextlib.contextmanager
        def start() -> Iterator[nn.Module]:
            with frozen(model) as found:
                yield causal_model(found)

        yield Mixed(start, prompts, stream.count or 1, self.ends.pad, geometric(stream.pull))


def geometric(pull: float) -> Callable[[Tensor, Tensor], Tensor]:
    """`(1 − pull) log π + pull log π_1` of the next token."""
    return lambda own, start: (1 - pull) * own.log_softmax(-1) + pull * start.log_softmax(-1)


def labels_a_row(stream: Stream, rivals: int | None = None) -> int:
    """Labels that one prompt of a stream costs: a score a response, or an answer a pair; a critic's none."""
    k = stream.count or 0
    if stream.labels in (None, "critic"):
        return 0
    if stream.labels == "score":
        return k
    return k * (k - 1) // 2 if rivals is None else k * rivals


def prompts_of(batch: Tensors) -> list[list[int]]:
    """The prompts of a batch without their padding."""
    pairs = zip(batch["prompt_ids"], batch["prompt_mask"], strict=True)
    return [ids[mask.bool()].tolist() for ids, mask in pairs]


def _kept(values: Tensor, keep: Tensor) -> Tensor:
    """The rows `keep (B,)` of a tensor of a batch, `(B, …)` or `(K B, …)` stream by stream."""
    if bool(keep.all()):
        return values
    blocks = values.view(-1, len(keep), *values.shape[1:])
    return blocks[:, keep.to(values.device)].flatten(0, 1)


def _columns(values: Tensor, samples: int) -> Tensor:
    """`(K B,)` in the order of a batch as `(B, K)`."""
    return values.view(samples, -1).transpose(0, 1)


def generator(model: Any) -> Any:
    """What can generate: PEFT's wrapper itself, or the plain model."""
    return model if hasattr(model, "generate") else causal_model(model)


def frozen_names(streams: Sequence[Stream]) -> list[str]:
    """The iterates that have to be live in training."""
    step = [s for s in streams if s.when == "step"]
    names = [a for s in step for a in s.anchors]
    names += [s.source for s in step if s.source != "current"]
    names += ["initial" for s in step if s.pull]
    return [name for name in dict.fromkeys(names) if name not in LIVE]
