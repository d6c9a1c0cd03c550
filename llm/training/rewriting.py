"""Chosen responses with a segment rewritten by a slow copy, queued, and drawn from the queue (SAPO)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback

from llm.data.padding import pad
from llm.data.row import logp_column
from llm.files import processes
from llm.files.digests import read_rows, write_rows
from llm.files.parts import part_seed
from llm.methods.kinds import Slow
from llm.models.decoding import left_padded
from llm.models.engines import cut, draw
from llm.models.logprobs import sequence_logps
from llm.training.batches import ROW_WEIGHT, Tensors
from llm.training.checkpoints import folder_of
from llm.training.copies import Copies
from llm.training.rollouts import Rollouts, generator, prompts_of

Pair = dict[str, Any]


def cuts(length: int, segment: int, keep: int) -> range:
    """Where a segment may start: the whole of it fits and `keep` tokens stay behind it; else at 0 alone."""
    return range(max(0, length - keep - segment) + 1)


def rewritten(
    good: Sequence[int], start: int, segment: int, new: Sequence[int], eos: int
) -> list[int]:
    """`good` with `segment` tokens from `start` on replaced by `new`; nothing comes after an EOS in it."""
    new = cut(new, eos)
    rest = [] if list(new[-1:]) == [eos] else good[start + segment :]
    return [*good[:start], *new, *rest]


class Queue(TrainerCallback):
    """First in, first out; pairs that were drawn less often are more likely to be drawn next.

    Each process has its own, kept with the checkpoints.
    """

    def __init__(self, size: int) -> None:
        self.size, self.pairs = size, list[Pair]()

    def push(self, pairs: Sequence[Pair]) -> None:
        """Add pairs; the oldest leave."""
        self.pairs = [*self.pairs, *({**pair, "drawn": 0} for pair in pairs)][-self.size :]

    def draw(self, count: int, seed: int) -> list[Pair]:
        """`count` pairs with replacement, by weights `1/(1 + times drawn)` as they were before."""
        weight = torch.tensor([1 / (1 + pair["drawn"]) for pair in self.pairs], dtype=torch.float64)
        chance = torch.Generator().manual_seed(seed)
        picks = torch.multinomial(weight, count, replacement=True, generator=chance).tolist()
        found = [self.pairs[i] for i in picks]
        for pair in found:
            pair["drawn"] += 1
        return found

    def _path(self, args: Any, state: Any) -> Any:
        return folder_of(args, state) / f"queue-{processes.rank():03d}.parquet"

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Go on with the pairs that a checkpoint holds."""
        if state.global_step:
            self.pairs = read_rows(self._path(args, state))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Store the pairs."""
        write_rows(self._path(args, state), self.pairs)


@dataclass(frozen=True)
class Rewriting(Rollouts):
    """A step of SAPO: move the copies, rewrite the chosen responses, queue the pairs, draw as many."""

    slow: Slow | None = None
    copies: Copies | None = None
    queue: Queue | None = None

    def __call__(self, model: nn.Module, batch: Tensors, step: int, number: int) -> Tensors:
        """The pairs that micro-batch `number` of step `step` trains on."""
        assert self.copies is not None
        assert self.queue is not None
        seed = part_seed(self.key, "rewritten", step, processes.rank(), number)
        training = model.training
        devices = range(torch.cuda.device_count())
        with torch.random.fork_rng(devices), torch.no_grad():
            model.eval()
            if number == 0:
                self.copies.move(model, step)
            made = self.rewrite(model, prompts_of(batch), chosen_of(batch), seed)
            self.queue.push(
                [{**pair, "weight": w} for pair, w in zip(made, weights_of(batch), strict=True)]
            )
            pairs = self.queue.draw(len(batch["prompt_ids"]), seed)
            found = self._batch(model, pairs, batch["prompt_ids"].device)
        model.train(training)
        return found

    def rewrite(
        self, model: nn.Module, prompts: list[list[int]], goods: list[list[int]], seed: int
    ) -> list[Pair]:
        """Each chosen response with one segment of it written anew by the average."""
        assert self.copies is not None
        assert self.slow is not None
        s, chance = self.slow, torch.Generator().manual_seed(seed)
        places = [cuts(len(y), s.segment, s.keep) for y in goods]
        starts = [int(torch.randint(len(p), (1,), generator=chance)) for p in places]
        asked = [[*x, *y[:i]] for x, y, i in zip(prompts, goods, starts, strict=True)]
        settings = replace(
            self.generation,
            samples=1,
            temperature=s.temperature,
            top_p=s.top_p,
            max_new_tokens=min(s.segment, self.generation.max_new_tokens),
        )
        with self.copies.playing(model, "ema") as writer:
            new = draw(generator(writer), asked, settings, self.ends, seed, top_k=s.top_k)
        self.given.samples += len(goods)
        return [
            {"prompt": x, "good": y, "bad": rewritten(y, i, s.segment, z[0], self.ends.eos)}
            for x, y, i, z in zip(prompts, goods, starts, new, strict=True)
        ]

    def _batch(self, model: nn.Module, pairs: list[Pair], device: torch.device) -> Tensors:
        """The batch of these pairs: weights of their rows and, where asked, the opponent's log-probs."""
        assert self.copies is not None
        prompts = [pair["prompt"] for pair in pairs]
        ids, mask = left_padded(prompts, self.ends.pad)
        responses = [pair[side] for side in ("good", "bad") for pair in pairs]
        made = {
            "prompt_ids": ids,
            "prompt_mask": mask,
            **pad(prompts * 2, responses, self.ends.pad),
        }
        weights = [pair["weight"] for pair in pairs]
        if any(weight != 1 for weight in weights):
            made[ROW_WEIGHT] = torch.tensor(weights, dtype=torch.float64)
        made = {name: tensor.to(device) for name, tensor in made.items()}
        if any("opponent" in stream.anchors for stream in self.streams):
            sequences = (made["input_ids"], made["attention_mask"], made["completion_mask"])
            with self.copies.playing(model, "opponent") as opponent:
                values = sequence_logps(opponent, *sequences, chunk=self.chunk).view(2, -1)
            for name, column in zip(("chosen", "rewritten"), values, strict=True):
                made[logp_column("opponent", name)] = column.unsqueeze(-1)
        return made


def chosen_of(batch: Tensors) -> list[list[int]]:
    """The chosen responses of a batch that holds no other sequences."""
    pairs = zip(batch["input_ids"], batch["completion_mask"], strict=True)
    return [ids[mask.bool()].tolist() for ids, mask in pairs]


def weights_of(batch: Tensors) -> list[float]:
    """How often each row of a batch counts."""
    alike = torch.ones(len(batch["prompt_ids"]))
    weights: list[float] = batch.get(ROW_WEIGHT, alike).tolist()
    return weights


def rewriting(rollouts: Rollouts, slow: Slow, batch: int) -> Rewriting:
    """`rollouts` that rewrite with slow copies, for a process with `batch` rows a step."""
    return Rewriting(
        **{name: getattr(rollouts, name) for name in Rollouts.__dataclass_fields__},
        slow=slow,
        copies=Copies(slow.decay, slow.refresh),
        queue=Queue(slow.memory * batch),
    )


def callbacks(rollouts: Rollouts) -> list[TrainerCallback]:
    """What has to be kept with the checkpoints beside the counts."""
    if not isinstance(rollouts, Rewriting):
        return []
    return [kept for kept in (rollouts.copies, rollouts.queue) if kept is not None]
