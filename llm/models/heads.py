"""A linear reward on a frozen network: `r(x,y) = bound/2 · tanh(2 w · φ(x,y) / bound)`.

`φ` is the mean of the network's last states over the tokens of the answer, standardised by those of the
training pairs and divided by the root of their width. States are computed once and kept beside the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from experiments.common.files import write_atomically
from llm.data.row import Row
from llm.files import processes
from llm.files.digests import digest
from llm.files.progress import Progress
from llm.models.load import ModelSettings, load_frozen
from llm.models.states import Reader, Text

FILE = "head.safetensors"
Read = tuple[tuple[int, ...], int]  # token ids of prompt and answer, and how many are the answer's


@dataclass
class States:
    """`φ` before it is standardised, of the answers in rows under the model at `path`; kept in `folder`."""

    folder: Path
    path: str
    weights: Any
    model: ModelSettings
    tokenizer: Any
    size: int
    _reader: list[Reader] = field(default_factory=list)
    _known: dict[Read, Tensor] = field(default_factory=dict)

    def of(self, rows: Sequence[Row], name: str) -> Tensor:
        """The states of the stream `name`, `(rows, K, D)`; each answer is read once."""
        texts = [((*row.prompt, *y), len(y)) for row in rows for y in row.responses[name]]
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        if new:
            self._known |= dict(zip(new, self._kept(new), strict=True))
        return torch.stack([self._known[text] for text in texts]).unflatten(0, (len(rows), -1))

    def _kept(self, texts: list[Read]) -> Tensor:
        place = self.folder / f"{digest([self.weights, texts])}.safetensors"
        if not place.exists():
            found = self._compute(texts)
            write_atomically(place, lambda p: save_file({"states": found}, p))
        return load_file(place)["states"]

    def _compute(self, texts: list[Read]) -> Tensor:
        if not self._reader:
            model = load_frozen(self.path, self.model).to(processes.device())
            self._reader.append(Reader(model, self.tokenizer, "mean", 1))
        parts = []
        with Progress("states of answers", len(texts)) as bar:
            for start in range(0, len(texts), self.size):
                part = [
                    Text(list(ids), len(ids) - own, len(ids), [0] * len(ids))
                    for ids, own in texts[start : start + self.size]
                ]
                parts.append(self._reader[0].batch(part))
                bar.tokens += sum(len(text.ids) for text in part)
                bar.advance(len(part))
        return torch.cat(parts)


@dataclass(frozen=True)
class Head:
    """Weights `w (D,)`, and the mean and spread `(D,)` of the states they were made for."""

    weight: Tensor
    centre: Tensor
    spread: Tensor

    @classmethod
    def fresh(cls, states: Tensor) -> Head:
        """No reward at all, with the scale of `states (…, D)`."""
        flat = states.flatten(0, -2).double()
        spread = flat.std(0).clamp_min(1e-6)
        return cls(torch.zeros_like(spread), flat.mean(0), spread)

    @classmethod
    def load(cls, folder: Path | str) -> Head:
        """A saved head."""
        return cls(**load_file(Path(folder) / FILE))

    def save(self, folder: Path) -> None:
        """Write it into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / FILE, lambda p: save_file(dict(vars(self)), p))

    def features(self, states: Tensor) -> Tensor:
        """`φ`, in float64."""
        return (states.double() - self.centre) / self.spread / states.shape[-1] ** 0.5

    def rewards(self, states: Tensor, bound: float) -> Tensor:
        """`r(x,y)`: `(…, D) -> (…)`, in `(−bound/2, bound/2)`."""
        return bounded(self.features(states), self.weight, bound)


def bounded(features: Tensor, weight: Tensor, bound: float) -> Tensor:
    """`bound/2 · tanh(2 w · φ / bound)`, close to `w · φ` where rewards are small."""
    return bound / 2 * torch.tanh(2 / bound * (features @ weight))
