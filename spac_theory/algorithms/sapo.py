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
def _cuts(actions: int, symbols: int, segment: int, keep: int) -> list[tuple[Tensor, range]]:
    """Of each cut: which strings agree outside the segment `(A, A)`, and the places of the segment.

    The cut is uniform on `0 … L − keep − segment`, so that the whole segment fits and `keep` symbols of
    the old suffix stay; it is 0 where the string is too short for that.
    """
    length = string_length(actions, symbols)
    assert length is not None
    index, cuts = torch.arange(actions), []
    for cut in range(max(0, length - keep - segment) + 1):
        end = min(cut + segment, length)
        tail, head = symbols ** (length - end), symbols ** (length - cut)
        same = (index // head)[:, None] == index // head
        same = same & ((index % tail)[:, None] == index % tail)
        cuts.append((same, range(cut, end)))
    return cuts


def decoder(law: Tensor, temperature: float, top_k: int, top_p: float) -> Tensor:
    """What a decoder makes of `law (..., K)`: temperature, then the `top_k` likeliest, then the nucleus."""
    warped = law.clamp_min(1e-300).log().div(temperature).softmax(-1)
    ordered, places = warped.sort(dim=-1, descending=True, stable=True)
    ordered = ordered * (torch.arange(ordered.shape[-1]) < top_k)
    ordered = ordered / ordered.sum(-1, keepdim=True)
    ordered = ordered * (ordered.cumsum(-1) - ordered < top_p)
    ordered = ordered / ordered.sum(-1, keepdim=True)
    return torch.zeros_like(warped).scatter(-1, places, ordered)


def symbol_laws(
    policy: Tensor, symbols: int, temperature: float = 1.0, top_k: int = 50, top_p: float = 1.0
) -> list[Tensor]:
    """`P(y_l | y_1 … y_{l−1})` of each place `l` of string `y`, decoded symbol by symbol: `(..., A)` each."""
    length, batch = string_length(policy.shape[-1], symbols), policy.shape[:-1]
    assert length is not None
    laws = []
    for place in range(length):
        size = symbols ** (length - place - 1)
        through = policy.reshape(*batch, -1, symbols, size).sum(-1)
        share = through / through.sum(-1, keepdim=True).clamp_min(1e-300)
        decoded = decoder(share, temperature, top_k, top_p)
        laws.append(decoded.flatten(-2).repeat_interleave(size, -1))
    return laws


def segment_kernel(
    policy: Tensor,
    symbols: int,
    segment: int,
    keep: int = 0,
    temperature: float = 1.0,
    top_k: int = 50,
    top_p: float = 1.0,
) -> Tensor:
    """`K(y'|y)`: a random cut, `segment` symbols rewritten by `policy`, the old suffix kept.

    `policy (..., A)` over strings of `L` symbols, first symbol most significant; exact, by
    enumeration of the cuts; `(..., A) -> (..., A, A)`.
    """
    laws = symbol_laws(policy, symbols, temperature, top_k, top_p)
    cuts = _cuts(policy.shape[-1], symbols, segment, keep)
    kernel = policy.new_zeros(*policy.shape, policy.shape[-1])
    for same, places in cuts:
        rewritten = torch.stack([laws[place] for place in places]).prod(0)
        kernel += same.to(policy.device) * rewritten.unsqueeze(-2) / len(cuts)
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
        """`count` pairs, `(S, count, 3)`, drawn with replacement by weights `1/(1 + times drawn)`.

        The weights are those before the batch; what it draws counts afterwards.
        """
        weight = 1 / (1 + self.drawn[:, : self.held].to(torch.float64))
        uniform = torch.as_tensor(np.stack([stream.random(count) for stream in streams]))
        places = draw(weight, uniform)
        self.drawn.scatter_add_(1, places, torch.ones_like(places))
        return self.pairs.gather(1, places.unsqueeze(-1).expand(-1, -1, 3))


def pair_shares(pairs: Tensor, contexts: int, actions: int) -> Tensor:
    """Share of each `(context, good, bad)` among `pairs (S, B, 3)`, `(S, X, A, A)`."""
    x, good, bad = pairs.unbind(-1)
    flat = (x * actions + good) * actions + bad
    total = torch.zeros(len(pairs), contexts * actions * actions, dtype=torch.float64)
    total.scatter_add_(1, flat, torch.full(flat.shape, 1 / flat.shape[1], dtype=torch.float64))
    return total.reshape(-1, contexts, actions, actions)


def schedule(step: int, steps: int) -> float:
    """The released step size over its peak: linear up over the first tenth, then linear down to 0."""
    warm = max(1, steps // 10)
    return (step + 1) / warm if step < warm else (steps - step) / (steps - warm)


@ALGORITHMS.register("sapo")
@dataclass(frozen=True)
class Sapo(Learner):
    """DPO between winners of the data and rewritten winners, against a slow copy of the policy.

    A step moves the slow copy, copies it to the opponent when it is time, rewrites `batch` winners with
    it, queues the pairs, and trains on `batch` pairs of the queue. `replay = mean` puts expectations for
    the draws: over winners, cuts and segments, and over the queue the mean of the laws of as many steps
    as it holds.
    """

    needs = frozenset({KNOWN_CONTEXTS})

    symbols: int | None = integer(
        None, "alphabet size; null reads each action as one symbol", low=2, optional=True
    )
    segment: int = integer(1, "symbols rewritten at a time")
    keep: int = integer(0, "symbols of the old suffix that stay; the release's three end it", low=0)
    temperature: float = positive(0.7, "temperature at which segments are written")
    top_k: int = integer(50, "likeliest symbols that may be written")
    top_p: float = number(0.95, "mass of the nucleus they come from", low=0, high=1, open_low=True)
    beta: float = positive(0.1, "strength β of the implicit KL regulariser")
    decay: float = number(0.5, "of the slow copy", low=0, high=1, open_high=True)
    replay: str = choice("queue", "queue, or mean: expectations for its draws", ("queue", "mean"))
    batch: int = integer(64, "pairs a step")
    buffer: int = integer(16000, "pairs the queue holds, at least `batch`: 250 steps, as released")
    refresh: int = integer(108, "steps between copies of the opponent")
    steps: int = integer(216, "RMSprop steps")
    learning_rate: float = positive(0.05, "the largest step: up over a tenth of the run, then down")

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
        slow = opponent = logits.clone()
        optimiser = torch.optim.RMSprop([logits], lr=self.learning_rate)
        queue = ReplayBuffer(len(good), self.buffer)
        streams = data.streams("sapo", view.key)
        kernel, gradient = torch.zeros_like(data.fraction), torch.zeros_like(good)
        for step in range(self.steps):
            slow = self.decay * slow + (1 - self.decay) * logits
            opponent = slow.clone() if step % self.refresh == 0 else opponent
            rewritten = self.kernel(view, slow)
            if self.replay == "queue":
                queue.push(self._rewrite(good, rewritten, streams))
                pairs = pair_shares(queue.batch(self.batch, streams), *good.shape[1:])
            else:
                held = min(step + 1, self.buffer // self.batch)
                kernel = kernel + (rewritten - kernel) / held
                pairs = good.unsqueeze(-1) * kernel
            s = self.beta * (logits - opponent)
            gradient = self.beta * tabular_preference_gradient(s, pairs)
            logits.grad = gradient
            rate = self.learning_rate * schedule(step, self.steps)
            optimiser.param_groups[0]["lr"] = rate
            optimiser.step()
        policy = TabularPolicy(log_policy(view, logits).exp())
        if self.replay == "queue":
            return Fit(policy, "none")
        return Fit(policy, "stationarity", gradient.flatten(1).norm(dim=-1))

    def kernel(self, view: LearnerView, slow: Tensor) -> Tensor:
        """How the slow copy rewrites, `(S, X, A, A)`."""
        symbols = view.reference.shape[-1] if self.symbols is None else self.symbols
        decoding = (self.temperature, self.top_k, self.top_p)
        policy = log_policy(view, slow).exp()
        return segment_kernel(policy, symbols, self.segment, self.keep, *decoding)

    def _rewrite(
        self, good: Tensor, rewritten: Tensor, streams: Sequence[np.random.Generator]
    ) -> Tensor:
        """`batch` winners and their rewritings, as `(context, good, bad)`, `(S, batch, 3)`."""
        lanes, actions = len(good), good.shape[-1]
        uniform = torch.as_tensor(np.stack([s.random((2, self.batch)) for s in streams]))
        cell = draw(good.flatten(1), uniform[:, 0].contiguous())
        x, y = cell // actions, cell % actions
        law = rewritten[torch.arange(lanes)[:, None], x, y]
        bad = draw(law, uniform[:, 1].unsqueeze(-1)).squeeze(-1)
        return torch.stack([x, y, bad], -1)
