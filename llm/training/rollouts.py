"""Responses drawn at every step, with the weights of that step; exact on resume.

The draws of a step depend on the run's key, the number of the step, the process and the micro-batch
and on nothing else, so a run killed and resumed sees the responses it would have seen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from llm.data.padding import pad
from llm.data.row import logp_column
from llm.files import processes
from llm.files.parts import part_seed
from llm.methods import Stream
from llm.models.engines import Ends, GenerationSettings, draw
from llm.models.logprobs import causal_model, sequence_logps, with_logps
from llm.training.batches import Tensors, join

Frozen = Callable[[nn.Module], contextlib.AbstractContextManager[nn.Module]]


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
    """Adds the streams of a step to a batch: sequences, and their `log π_a` under `anchors`."""

    streams: tuple[Stream, ...]
    anchors: dict[str, Frozen]
    generation: GenerationSettings
    ends: Ends
    chunk: int
    key: str

    def __call__(self, model: nn.Module, batch: Tensors, step: int, number: int) -> Tensors:
        """`batch` (micro-batch `number` of step `step`) with every stream of the step."""
        training = model.training
        devices = range(torch.cuda.device_count())
        with torch.random.fork_rng(devices), torch.no_grad():
            model.eval()
            for stream in self.streams:
                seed = part_seed(self.key, stream.name, step, processes.rank(), number)
                batch = join(batch, self._stream(model, batch, stream, seed), self.ends.pad)
        model.train(training)
        return batch

    def _stream(self, model: nn.Module, batch: Tensors, stream: Stream, seed: int) -> Tensors:
        prompts = [
            ids[mask.bool()].tolist()
            for ids, mask in zip(batch["prompt_ids"], batch["prompt_mask"], strict=True)
        ]
        settings = replace(self.generation, samples=stream.count or 1)
        with self._writer(model, stream) as writer:
            answers = draw(_generator(writer), prompts, settings, self.ends, seed)
        columns = range(settings.samples)
        responses = [answers[i][k] for k in columns for i in range(len(prompts))]
        more = pad(prompts * settings.samples, responses, self.ends.pad)
        device = batch["prompt_ids"].device
        more = {name: tensor.to(device) for name, tensor in more.items()}
        sequences = (more["input_ids"], more["attention_mask"], more["completion_mask"])
        for anchor in stream.anchors:
            with self.anchors[anchor](model) as frozen:
                values = sequence_logps(frozen, *sequences, chunk=self.chunk)
            column = logp_column(anchor, stream.name)
            more[column] = _columns(values, settings.samples)
        return more

    def _writer(
        self, model: nn.Module, stream: Stream
    ) -> contextlib.AbstractContextManager[nn.Module]:
        if stream.source == "current":
            return contextlib.nullcontext(model)
        return self.anchors[stream.source](model)


def _columns(values: Tensor, samples: int) -> Tensor:
    """`(K B,)` in the order of a batch as `(B, K)`."""
    return values.view(samples, -1).transpose(0, 1)


def _generator(model: Any) -> Any:
    """What can generate: PEFT's wrapper itself, or the plain model."""
    return model if hasattr(model, "generate") else causal_model(model)


def frozen_names(streams: Sequence[Stream]) -> list[str]:
    """The frozen policies that have to be live in training."""
    step = [s for s in streams if s.when == "step"]
    names = [a for s in step for a in s.anchors]
    names += [s.source for s in step if s.source != "current"]
    return list(dict.fromkeys(names))
