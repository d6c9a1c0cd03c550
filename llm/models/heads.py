"""A linear reward on a frozen network: `r(x,y) = bound/2 · tanh(2 w · φ(x,y) / bound)`.

`φ` is the mean of the network's last states over the tokens of the answer, standardised by those of the
training pairs and divided by the root of their width. States are computed once and kept beside the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from experiments.common.files import write_atomically
from llm.data.row import Row
from llm.data.trees import families
from llm.files import processes
from llm.files.digests import digest
from llm.files.progress import Progress
from llm.models.load import ModelSettings, load_frozen
from llm.models.logprobs import with_logps
from llm.models.packs import over_packs, pack_states, with_packs
from llm.models.states import Reader, Text
from spac_theory.checks import InputError

FILE = "head.safetensors"
Read = tuple[tuple[int, ...], int]  # token ids of prompt and answer, and how many are the answer's


@dataclass
class States:
    """`φ` before it is standardised, of the answers in rows under the model at `path`; kept in `folder`.

    A model that reads packs is shown packs of at most `tokens` tokens, unless these are 0; else `size` texts.
    """

    folder: Path
    path: str
    weights: Any
    model: ModelSettings
    tokenizer: Any
    size: int
    tokens: int = 0
    _live: list[Any] = field(default_factory=list)
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
        if not self._live:
            model = load_frozen(self.path, self.model).to(processes.device()).eval()
            self._live.append(model)
            self._live.append(self.tokens if self.tokens and with_packs(with_logps(model)) else 0)
        model, tokens = self._live
        return self._packed(model, texts, tokens) if tokens else self._padded(model, texts)

    def _packed(self, model: Any, texts: list[Read], tokens: int) -> Tensor:
        lengths = [own for _, own in texts]
        prompts = [ids[:-own] for ids, own in texts]
        trees, places = families([ids for ids, _ in texts], prompts, tokens, lengths)
        found = over_packs(model, trees, tokens, partial(pack_states, model))
        if not bool(torch.isfinite(found).all()):
            raise InputError("model gives states that are not finite; try dtype float32.")
        return found[torch.tensor(places).argsort()]

    def _padded(self, model: Any, texts: list[Read]) -> Tensor:
        reader, parts = Reader(model, self.tokenizer, "mean", 1), []
        with Progress("states of answers", len(texts)) as bar:
            for start in range(0, len(texts), self.size):
                part = [
                    Text(list(ids), len(ids) - own, len(ids), [0] * len(ids))
                    for ids, own in texts[start : start + self.size]
                ]
                parts.append(reader.batch(part))
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
