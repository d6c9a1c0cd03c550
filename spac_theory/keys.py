"""Random streams named by what they are for, never by their position in a sweep.

`generator("data", "rare_lucky", seed, rung)` always opens the same stream, whatever else is run, so
adding a seed, a sample size or an algorithm changes no other number.
"""

from __future__ import annotations

import hashlib

import numpy as np


def generator(*key: str | int) -> np.random.Generator:
    """A NumPy generator seeded by the hash of `key` (strings and whole numbers)."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in key)
    digest = hashlib.sha256(text.encode()).digest()
    words = np.frombuffer(digest, dtype=np.uint32)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words.tolist())))
