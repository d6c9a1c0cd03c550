"""Hidden states of a causal model at the end, or over the tokens, of an answer to a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from llm.data.encode import prompt_ids, response_ids
from llm.data.formats import Prompt
from llm.models.bodies import body_outputs
from llm.models.probe import find_body
from spac_theory.checks import InputError, choice


@dataclass
class Reader:
    """A model, its tokenizer, and which states are taken.

    `pooling` is "last" (the state at the answer's closing token, which has seen everything) or "mean" (over
    the answer's tokens). Texts are cut to `max_length` tokens: of a prompt the end is kept, of an answer
    the beginning.
    """

    model: Any
    tokenizer: Any
    pooling: str
    max_length: int
    cut: int = 0

    def __post_init__(self) -> None:
        choice("pooling", self.pooling, ("last", "mean"))
        self.model.eval()
        self.body = find_body(self.model)

    def encode(self, prompt: Prompt, answer: str) -> tuple[list[int], int]:
        """Token ids of both, and how many are the answer's."""
        before = prompt_ids(self.tokenizer, prompt)
        after = response_ids(self.tokenizer, prompt, answer)
        self.cut += len(before) + len(after) > self.max_length
        after = after[: self.max_length - 1]
        before = before[-max(1, self.max_length - len(after)) :]
        return before + after, len(after)

    def states(self, texts: Sequence[tuple[Prompt, str]], batch: int) -> Tensor:
        """`(len(texts), D)` float32, in the order given; texts of like length share a batch."""
        encoded = [self.encode(*text) for text in texts]
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i][0]))
        rows: list[Tensor] = [torch.zeros(0)] * len(encoded)
        for start in range(0, len(order), batch):
            places = order[start : start + batch]
            for place, row in zip(places, self.batch([encoded[i] for i in places]), strict=True):
                rows[place] = row
        return torch.stack(rows)

    @torch.no_grad()
    def batch(self, encoded: list[tuple[list[int], int]]) -> Tensor:
        """States `(B, D)` of token ids with the number of the answer's tokens, padded on the right."""
        device = next(self.model.parameters()).device
        longest = max(len(ids) for ids, _ in encoded)
        padded = [ids + [self.tokenizer.pad_token_id] * (longest - len(ids)) for ids, _ in encoded]
        mask = [[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in encoded]
        ids, attention = (torch.tensor(t, device=device) for t in (padded, mask))
        states = self._hidden(ids, attention).float().cpu()
        if not bool(torch.isfinite(states[attention.bool().cpu()]).all()):
            raise InputError("model gives states that are not finite; try dtype float32.")
        first = [len(ids) - (1 if self.pooling == "last" else own) for ids, own in encoded]
        ends = [len(ids) for ids, _ in encoded]
        spans = zip(states, first, ends, strict=True)
        return torch.stack([row[start:end].mean(0) for row, start, end in spans])

    def _hidden(self, ids: Tensor, attention: Tensor) -> Tensor:
        """The states that the output layer reads, `(B, L, D)`."""
        if self.body is not None:
            return body_outputs(self.model, self.body, ids, attention)[1]
        found = self.model(ids, attention_mask=attention, output_hidden_states=True)
        hidden: Tensor = found.hidden_states[-1]
        return hidden
