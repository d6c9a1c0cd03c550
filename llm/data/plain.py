"""Features of an answer that need no model: how long it is, how it is laid out, which words it has."""

from __future__ import annotations

import hashlib
import math
import re
from functools import lru_cache

import torch
from torch import Tensor

from llm.data.comparisons import Comparisons

WORD = re.compile(r"\w+")
MARKS = ("\n", "- ", "```", "?", "!", "**", "#")
BUCKETS = 256


def lengths(answers: list[str]) -> Tensor:
    """`log(1 + characters)`, `(N,)`."""
    return torch.tensor([math.log1p(len(text)) for text in answers], dtype=torch.float64)


def plain_features(data: Comparisons, buckets: int = BUCKETS) -> Tensor:
    """`(N, 2 + marks + buckets)`: lengths, marks of layout, and words hashed with a sign.

    Counts enter as `log(1 + count)`; hashing is that of feature hashing (Weinberger et al., 2009,
    arXiv 0902.2206), so no vocabulary is stored.
    """
    rows = torch.zeros(len(data.answers), 2 + len(MARKS) + buckets, dtype=torch.float64)
    for row, text in zip(rows, data.answers, strict=True):
        words = WORD.findall(text.lower())
        row[0], row[1] = math.log1p(len(text)), math.log1p(len(words))
        row[2 : 2 + len(MARKS)] = torch.tensor([math.log1p(text.count(m)) for m in MARKS])
        for place, sign in map(_bucket, words):
            row[2 + len(MARKS) + place % buckets] += sign
    words_part = rows[:, 2 + len(MARKS) :]
    words_part.copy_(words_part.sign() * words_part.abs().log1p())
    return rows


@lru_cache(maxsize=200_000)
def _bucket(word: str) -> tuple[int, float]:
    """A bucket and a sign, the same in every process."""
    code = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
    return code >> 1, 1.0 if code & 1 else -1.0
