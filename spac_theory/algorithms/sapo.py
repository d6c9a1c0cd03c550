"""SAPO, self-augmented preference optimisation, Yin et al. (2024), arXiv 2405.20830.

Only good responses are given; bad ones are made by rewriting a segment of a good one with a slow
copy of the policy. Segments need structure, so actions are read as strings of symbols.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.bandit.strings import string_length
from spac_theory.learning.needs import KNOWN_CONTEXTS, Learner
from spac_theory.learning.optimise import log_policy
from spac_theory.objective import tabular_preference_gradient
from spac_theory.options import choice, integer, number, positive
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


@lru_cache(maxsize=32)
def _cuts(actions: int, symbols: int, segment: int) -> list[tuple[Tensor, int, int]]:
    """Of each cut: which strings agree outside the segment `(A, A)`, and sizes of tail and head."""
    length = string_length(actions, symbols)
    assert length is not None
    index, cuts = torch.arange(actions), []
    for cut in range(length):
        tail, head = symbols ** (length - min(cut + segment, length)), symbols ** (length - cut)
        same = (index // head)[:, None] == index // head
        same = same & ((index % tail)[:, None] == index % tail)
        cuts.append((same, tail, head))
    return cuts


def segment_kernel(policy: Tensor, symbols: int, segment: int) -> Tensor:
    """`K(y'|y)`: a random cut, `segment` symbols rewritten by `policy`, the old suffix kept.

    `policy (..., A)` over strings of `L` symbols, first symbol most significant; exact, by
    enumeration of the cuts; `(..., A) -> (..., A, A)`.
    """
    kernel = policy.new_zeros(*policy.shape, policy.shape[-1])
    cuts = _cuts(policy.shape[-1], symbols, segment)
    for same, tail, head in cuts:
        through, prefix = (
            policy.reshape(*policy.shape[:-1], -1, size).sum(-1).repeat_interleave(size, -1)
            for size in (tail, head)
        )
        conditional = through / prefix.clamp_min(1e-300)
        kernel += same * conditional.unsqueeze(-2) / len(cuts)
    return kernel


def draw(law: Tensor, uniform: Tensor) -> Tensor:
    """Indices by inversion: `law (..., k)` need not sum to 1, `uniform (..., B)` in [0, 1)."""
    edges = law.cumsum(-1)
    marks = uniform * edges[..., -1:]
    return torch.searchsorted(edges[..., :-1].contiguous(), marks, right=True)


class ReplayBuffer:
    """First in, first out; pairs that were drawn less often are more likely to be drawn next.

    Every data set has a buffer of its own; all of them hold the same number of pairs.

    Parameters
    ----------
    lanes, size : data sets, and pairs each buffer holds before the oldest ones leave
    """

    def __init__(self, lanes: int, size: int) -> None:
        self.pairs = torch.zeros(lanes, size, 3, dtype=torch.int64)
        self.drawn = torch.zeros(lanes, size, dtype=torch.int64)
        self.pushed = 0

    @property
    def held(self) -> int:
        """Pairs in each buffer."""
        return min(self.pushed, self.pairs.shape[1])

    def push(self, pairs: Tensor) -> None:
        """Add `(context, good, bad)`, `(S, B, 3)`, over the oldest ones; `B` is at most the size."""
        size = self.pairs.shape[1]
        places = (self.pushed + torch.arange(pairs.shape[1])) % size
        self.pairs[:, places] = pairs
        self.drawn[:, places] = 0
        self.pushed += pairs.shape[1]

    def batch(self, count: int, streams: Sequence[np.random.Generator]) -> Tensor:
        """`count` distinct pairs, `(S, count, 3)`, by weights `1/(1 + times drawn)`.

        The largest `u^{1/w}` of independent uniforms `u` are such a draw without replacement.
        """
        uniform = np.empty((len(streams), self.held))
        for row, stream in zip(uniform, streams, strict=True):
            stream.random(out=row)
        keys = torch.from_numpy(uniform).clamp_min_(1e-300).log_()
        keys *= 1 + self.drawn[:, : self.held]
        # NumPy's selection is three times as fast as a sorted top.
        chosen = np.argpartition(keys.numpy(), self.held - count, -1)[:, self.held - count :]
        places = torch.from_numpy(chosen.copy())
        self.drawn.scatter_add_(1, places, torch.ones_like(places))
        return self.pairs.gather(1, places.unsqueeze(-1).expand(-1, -1, 3))


def pair_shares(pairs: Tensor, contexts: int, actions: int) -> Tensor:
    """Share of each `(context, good, bad)` among `pairs (S, B, 3)`, `(S, X, A, A)`."""
    x, good, bad = pairs.unbind(-1)
    flat = (x * actions + good) * actions + bad
    total = torch.zeros(len(pairs), contexts * actions * actions, dtype=torch.float64)
    total.scatter_add_(1, flat, torch.full(flat.shape, 1 / flat.shape[1], dtype=torch.float64))
    return total.reshape(-1, contexts, actions, actions)


@ALGORITHMS.register("sapo")
@dataclass(frozen=True)
class Sapo(Learner):
    """DPO between winners of the data and rewritten winners, against a slow copy of the policy.

    A step draws `batch` winners, rewrites them with the slow copy, queues the pairs, and trains on
    `batch` pairs of the queue. `replay = mean` puts expectations for the draws: over winners, cuts
    and segments, and over the queue the mean of the laws of as many steps as it holds.
    """

    needs = frozenset({KNOWN_CONTEXTS})

    symbols: int | None = integer(
        None, "alphabet size; null reads each action as one symbol", low=2, optional=True
    )
    segment: int = integer(1, "symbols rewritten at a time")
    beta: float = positive(0.1, "strength β of the implicit KL regulariser")
    decay: float = number(0.5, "of the slow copy, in [0, 1)", low=0, high=1, open_high=True)
    replay: str = choice(
        "queue",
        "queue: pairs drawn from a first-in-first-out buffer; mean: expectations for the draws",
        ("queue", "mean"),
    )
    batch: int = integer(64, "pairs a step")
    buffer: int = integer(2000, "pairs the buffer holds, at least `batch`")
    refresh: int = integer(50, "steps between copies of the opponent")
    steps: int = integer(200, "Adam steps")
    learning_rate: float = positive(0.05, "Adam's step")

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.integer("buffer", self.buffer, low=self.batch)

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Strings need `A = symbols^L` actions."""
        actions = view.reference.shape[-1]
        if self.symbols is not None and string_length(actions, self.symbols) is None:
            return f"{actions} actions are no strings over {self.symbols} symbols"
        return super().skip(view, oracle)

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Train on winners alone."""
        good = data.fraction.sum(-1)  # the law of (context, winner), (S, X, A)
        logits = torch.zeros_like(good)
        slow, opponent = logits.clone(), logits.clone()
        optimiser = torch.optim.Adam([logits], lr=self.learning_rate)
        symbols = view.reference.shape[-1] if self.symbols is None else self.symbols
        queue = ReplayBuffer(len(good), self.buffer)
        streams = data.streams("sapo", view.key)
        kernel, gradient = torch.zeros_like(data.fraction), torch.zeros_like(good)
        for step in range(1, self.steps + 1):
            slow = self.decay * slow + (1 - self.decay) * logits
            rewritten = segment_kernel(log_policy(view, slow).exp(), symbols, self.segment)
            if self.replay == "queue":
                queue.push(self._rewrite(good, rewritten, streams))
                pairs = pair_shares(queue.batch(self.batch, streams), *good.shape[1:])
            else:
                kernel = kernel + (rewritten - kernel) / min(step, self.buffer // self.batch)
                pairs = good.unsqueeze(-1) * kernel
            s = self.beta * (logits - opponent)
            gradient = self.beta * tabular_preference_gradient(s, pairs)
            logits.grad = gradient
            optimiser.step()
            if step % self.refresh == 0:
                opponent = slow.clone()
        policy = TabularPolicy(log_policy(view, logits).exp())
        if self.replay == "queue":
            return Fit(policy, "none")
        return Fit(policy, "stationarity", gradient.flatten(1).norm(dim=-1))

    def _rewrite(
        self, good: Tensor, rewritten: Tensor, streams: Sequence[np.random.Generator]
    ) -> Tensor:
        """`batch` winners and their rewritings, as `(context, good, bad)`, `(S, batch, 3)`."""
        lanes, actions = len(good), good.shape[-1]
        uniform = torch.from_numpy(np.stack([s.random((2, self.batch)) for s in streams]))
        cell = draw(good.flatten(1), uniform[:, 0].contiguous())
        x, y = cell // actions, cell % actions
        law = rewritten[torch.arange(lanes)[:, None], x, y]
        bad = draw(law, uniform[:, 1].unsqueeze(-1)).squeeze(-1)
        return torch.stack([x, y, bad], -1)
