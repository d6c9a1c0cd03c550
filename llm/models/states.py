"""States of a model at an answer to a prompt: of a causal model at the end or in the mean, of an encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from llm.data.encode import prompt_ids, response_ids
from llm.data.formats import Prompt
from llm.data.held_out import question
from llm.models.bodies import body_outputs
from llm.models.probe import find_body, takes
from spac_theory.checks import InputError, choice


@dataclass(frozen=True)
class Text:
    """Token ids of prompt and answer; the states of `ids[first:end]` are averaged; `types` of a pair."""

    ids: list[int]
    first: int
    end: int
    types: list[int]


@dataclass
class StateReader(ABC):
    """A model, its tokenizer, and which states are taken.

    Texts are cut to `max_length` tokens: of a prompt the end is kept, of an answer the beginning; `cut`
    counts them.
    """

    model: Any
    tokenizer: Any
    pooling: str
    max_length: int
    cut: int = 0

    def __post_init__(self) -> None:
        choice("pooling", self.pooling, ("last", "mean"))
        self.model.eval()

    @abstractmethod
    def encode(self, prompt: Prompt, answer: str) -> Text:
        """Both as tokens."""

    @abstractmethod
    def hidden(self, ids: Tensor, attention: Tensor, types: Tensor) -> Tensor:
        """The last states, `(B, L, D)`."""

    def states(self, texts: Sequence[tuple[Prompt, str]], batch: int) -> Tensor:
        """`(len(texts), D)` float32, in the order given; texts of like length share a batch."""
        encoded = [self.encode(*text) for text in texts]
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i].ids))
        rows: list[Tensor] = [torch.zeros(0)] * len(encoded)
        for start in range(0, len(order), batch):
            places = order[start : start + batch]
            for place, row in zip(places, self.batch([encoded[i] for i in places]), strict=True):
                rows[place] = row
        return torch.stack(rows)

    @torch.no_grad()
    def batch(self, texts: Sequence[Text]) -> Tensor:
        """States `(B, D)` of one batch, padded on the right."""
        device = next(self.model.parameters()).device
        longest = max(len(text.ids) for text in texts)

        def padded(lists: list[list[int]], fill: int) -> Tensor:
            return torch.tensor([v + [fill] * (longest - len(v)) for v in lists], device=device)

        ids = padded([text.ids for text in texts], self.tokenizer.pad_token_id)
        attention = padded([[1] * len(text.ids) for text in texts], 0)
        states = self.hidden(ids, attention, padded([text.types for text in texts], 0))
        states = states.float().cpu()
        if not bool(torch.isfinite(states[attention.bool().cpu()]).all()):
            raise InputError("model gives states that are not finite; try dtype float32.")
        pairs = zip(states, texts, strict=True)
        return torch.stack([row[text.first : text.end].mean(0) for row, text in pairs])


class Reader(StateReader):
    """A causal model.

    `pooling` is "last" (the state at the answer's closing token, which has seen everything) or "mean" (over
    the answer's tokens).
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.body = find_body(self.model)

    def encode(self, prompt: Prompt, answer: str) -> Text:
        """As the training path does, closing token included."""
        before = prompt_ids(self.tokenizer, prompt)
        after = response_ids(self.tokenizer, prompt, answer)
        self.cut += len(before) + len(after) > self.max_length
        after = after[: self.max_length - 1]
        before = before[-max(1, self.max_length - len(after)) :]
        ids = before + after
        first = len(ids) - 1 if self.pooling == "last" else len(before)
        return Text(ids, first, len(ids), [0] * len(ids))

    def hidden(self, ids: Tensor, attention: Tensor, types: Tensor) -> Tensor:
        """The states that the output layer reads, `(B, L, D)`."""
        if self.body is not None:
            return body_outputs(self.model, self.body, ids, attention)[1]
        found = self.model(ids, attention_mask=attention, output_hidden_states=True)
        hidden: Tensor = found.hidden_states[-1]
        return hidden


class EncoderReader(StateReader):
    """A text encoder: prompt and answer as a pair, the mean of the states over the answer's tokens."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pooling != "mean":
            raise InputError(
                f"pooling is {self.pooling!r} and kind is encoder; an encoder has no last state that has "
                "seen more than others, so set pooling=mean."
            )
        if not self.tokenizer.is_fast:
            raise InputError("model has a slow tokenizer, which cannot tell prompt from answer.")
        sizes = (getattr(self.model.config, "max_position_embeddings", None),
                 self.tokenizer.model_max_length)  # fmt: skip
        longest = min(size for size in sizes if size is not None)
        if self.max_length > longest:
            raise InputError(
                f"max_length is {self.max_length}; this encoder reads at most {longest} tokens, so lower it."
            )

    def encode(self, prompt: Prompt, answer: str) -> Text:
        """With the special tokens of a pair."""
        room = self.max_length - self.tokenizer.num_special_tokens_to_add(pair=True)
        before, after = (self._spans(text) for text in (question(prompt), answer))
        self.cut += len(before) + len(after) > room
        after = after[: max(1, room - 1)]
        before = before[-max(1, room - len(after)) :]
        texts = [
            text[spans[0][0] : spans[-1][1]] if spans else text
            for text, spans in ((question(prompt), before), (answer, after))
        ]
        found = self.tokenizer(*texts, truncation="longest_first", max_length=self.max_length)
        own = [i for i, part in enumerate(found.sequence_ids()) if part == 1]
        ids = found["input_ids"]
        if not own:
            raise InputError(
                f"the tokenizer of the encoder makes nothing of the answer {answer!r:.40}."
            )
        return Text(ids, own[0], own[-1] + 1, found.get("token_type_ids", [0] * len(ids)))

    def _spans(self, text: str) -> list[tuple[int, int]]:
        """Where each token begins and ends in the text."""
        found = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        spans: list[tuple[int, int]] = found["offset_mapping"]
        return spans

    def hidden(self, ids: Tensor, attention: Tensor, types: Tensor) -> Tensor:
        """The last states."""
        more = {"token_type_ids": types} if takes(self.model, "token_type_ids") else {}
        found = self.model(input_ids=ids, attention_mask=attention, **more)
        hidden: Tensor = found.last_hidden_state
        return hidden
