"""The rows of an optimiser step, cut into forward passes of a budget of tokens and dealt to the processes.

A step has the rows it would have without a budget. Its passes depend on their lengths alone, so a run that
is resumed cuts them as before. Every process makes as many passes, of about equal tokens; where rows run
out, a pass over one row stands in and weighs nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, Sampler

from llm.data.trees import deal
from llm.files import processes
from llm.training.settings import TrainSettings

PASSES = "passes"
WEIGHTLESS = "weightless"

Places = tuple[int, ...]
Collate = Callable[[Sequence[Any]], dict[str, Any]]
Sizes = Callable[[Sequence[Any]], list[int]]


@dataclass(frozen=True)
class Cut:
    """How a step is cut: `batch` rows over all processes, passes of at most `tokens` tokens."""

    batch: int
    tokens: int

    @classmethod
    def of(cls, train: TrainSettings) -> Cut | None:
        """What the settings say; None without a budget."""
        return None if train.tokens is None else cls(train.batch, train.tokens)


class StepSampler(Sampler[list[Places]]):
    """For each step, once a process, the places of the rows of its passes.

    It looks to accelerate like a sampler of batches, which deals its lists out in turn and seeds `sampler`.
    """

    batch_size = None  # lists of unequal length
    drop_last = False

    def __init__(self, rows: Sequence[Any], sizes: Sizes, cut: Cut) -> None:
        self.sampler: Any = RandomSampler(rows)
        self.rows, self.sizes, self.cut = rows, sizes, cut
        self.told = False

    def __iter__(self) -> Iterator[list[Places]]:
        for step in BatchSampler(self.sampler, self.cut.batch, drop_last=False):
            sizes = self.sizes([self.rows[i] for i in step])
            self._tell(max(sizes))
            for packs in deal(sizes, self.cut.tokens, processes.world()):
                yield [tuple(step[i] for i in pack) for pack in packs]

    def _tell(self, longest: int) -> None:
        if longest > self.cut.tokens and not self.told:
            self.told = True
            warnings.warn(
                f"train.tokens is {self.cut.tokens} and a row takes {longest}: a row above the budget has a "
                "forward pass of its own.",
                stacklevel=2,
            )

    def __len__(self) -> int:
        return processes.world() * -(-len(self.rows) // self.cut.batch)


@dataclass(frozen=True)
class Passes:
    """Rows as the passes of a step: places in, a batch a pass out."""

    rows: Sequence[Any]
    collate: Collate

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, places: Places) -> dict[str, Any]:
        if places:
            return self.collate([self.rows[i] for i in places])
        return {**self.collate([self.rows[0]]), WEIGHTLESS: torch.tensor(True)}


def loader(rows: Sequence[Any], collate: Collate, sizes: Sizes, cut: Cut) -> DataLoader[Any]:
    """A loader of steps, each `{"passes": [batch, …]}`; `sizes` says what each of some rows takes."""
    return DataLoader(
        Passes(rows, collate),  # type: ignore[arg-type]
        batch_sampler=StepSampler(rows, sizes, cut),
        collate_fn=lambda found: {PASSES: found},
    )


def passes_of(step: dict[str, Any]) -> list[dict[str, Any]]:
    """The passes of what a loader gave: a step's, or a micro-batch itself."""
    found: list[dict[str, Any]] = step.get(PASSES, [step])
    return found
