"""How fast training is and what it holds: pairs and tokens a second, share of the peak arithmetic, memory.

Tokens are those computed without padding, a prompt that responses share counted once: padding and repeated
prompts do not make a run look fast. Operations are counted by :mod:`llm.models.flops`. Numbers of time are
in the log and in `throughput.json`, never in the record of a stage, which is the same in every run.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from llm.files import memory, processes
from llm.models.cards import recognise
from llm.models.flops import Cost, Load

GIB = 2**30
TIMED = ("_runtime", "_per_second", "mfu", "peak_gib")  # ends of names of numbers that time decides
SUMS = ("seconds", "pairs", "tokens", "flop")


def load_of(inputs: Mapping[str, Tensor]) -> Load:
    """What a batch asks a model to compute; a token at position `p` sees `p + 1` tokens, itself included."""
    if "pack/layout" in inputs:
        positions = inputs["pack/position_ids"]
        seen = float((positions + 1).sum())
        return Load(float(positions.numel()), float(len(inputs["pack/targets"])), seen)
    if "attention_mask" not in inputs:
        return Load()
    lengths = inputs["attention_mask"].sum(-1).double()
    predicted = inputs["completion_mask"][:, 1:].sum()
    return Load(float(lengths.sum()), float(predicted), float((lengths * (lengths + 1) / 2).sum()))


def peak_arithmetic() -> float | None:
    """FLOP/s of this process's card at its best; None on a CPU and for a card that is not known."""
    if not torch.cuda.is_available():
        return None
    found = torch.cuda.get_device_properties(processes.device())
    card = recognise(found.name, found.total_memory / GIB)
    return card.peak if card else None


@dataclass
class Meter:
    """Counts what a trainer computes, from its first step on; all processes are taken to do as much."""

    cost: Cost
    peak: float | None = None
    counted: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SUMS[1:], 0.0))
    began: float | None = None
    last: dict[str, float] = field(default_factory=dict)

    def start(self) -> None:
        """Start the clock, if it does not run."""
        if self.began is None:
            self.began = time.perf_counter()
            self.last = self.sums()
            memory.reset_peak()

    def count(self, inputs: Mapping[str, Tensor]) -> None:
        """Note one batch on which the model was trained."""
        load = load_of(inputs)
        rows = next(inputs[n] for n in ("prompt_ids", "lengths", "input_ids") if n in inputs)
        self.counted["pairs"] += len(rows)
        self.counted["tokens"] += load.tokens
        self.counted["flop"] += self.cost.training(load)

    def sums(self) -> dict[str, float]:
        """Seconds since the start, and what was computed in them by all processes."""
        seconds = time.perf_counter() - (self.began or time.perf_counter())
        return {"seconds": seconds} | {k: v * processes.world() for k, v in self.counted.items()}

    def since(self) -> dict[str, float]:
        """Rates since the last call, and the peak of memory so far: numbers for a log."""
        now = self.sums()
        found = rates({k: v - self.last.get(k, 0.0) for k, v in now.items()}, self.peak)
        self.last = now
        told = {**found, "peak_gib": memory.peak() / GIB}
        return {name: value for name, value in told.items() if value is not None}

    def total(self) -> dict[str, Any]:
        """Sums and rates of the whole training, and the card's peak arithmetic if it is known."""
        sums = self.sums()
        more = {"peak_gib": memory.peak() / GIB, "peak_flop_per_second": self.peak}
        return {**sums, **rates(sums, self.peak), **more}


def rates(sums: Mapping[str, float], peak: float | None) -> dict[str, float | None]:
    """Pairs and tokens a second, and the share of the peak arithmetic of all processes (None: unknown)."""
    seconds = max(sums["seconds"], 1e-9)
    found: dict[str, float | None] = {
        f"{name}_per_second": sums[name] / seconds for name in ("pairs", "tokens")
    }
    found["mfu"] = sums["flop"] / seconds / (peak * processes.world()) if peak else None
    return found


def together(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The rates of several trainings one after the other, and the most that any of them held."""
    sums = {name: sum(r[name] for r in records) for name in SUMS}
    peak = records[0]["peak_flop_per_second"]
    return {**rates(sums, peak), "peak_gib": max(r["peak_gib"] for r in records)}


def parts(trainer: Any) -> dict[str, float]:
    """GiB of the peak by part: weights, gradients, optimiser state, and all the rest."""
    trained = [p for p in trainer.model.parameters() if p.requires_grad]
    state = trainer.optimizer.state.values() if trainer.optimizer else ()
    found = {
        "weights": _bytes(trainer.model.parameters()),
        "gradients": _bytes(trained),
        "optimiser state": _bytes(v for s in state for v in s.values() if isinstance(v, Tensor)),
    }
    rest = max(memory.peak() - sum(found.values()), 0)
    return {name: size / GIB for name, size in {**found, "rest": rest}.items()}


def _bytes(tensors: Any) -> float:
    """Bytes that tensors hold on this process: of a sharded one its own part."""
    local = (t.to_local() if hasattr(t, "to_local") else t for t in tensors)
    return float(sum(t.numel() * t.element_size() for t in local))
