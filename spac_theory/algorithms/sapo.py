"""SAPO, self-augmented preference optimisation, Yin et al. (2024), arXiv 2405.20830.

Only good responses are given; bad ones are made by rewriting a segment of a good one with a slow
copy of the policy. Segments need structure, so actions are read as strings of symbols.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.algorithms import ALGORITHMS
from spac_theory.baselines import share
from spac_theory.objective import tabular_preference_gradient
from spac_theory.optimise import log_policy
from spac_theory.preferences import WinnerCounts
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


def string_length(actions: int, symbols: int) -> int | None:
    """`L` with `symbols^L = actions`, or None."""
    length, size = 0, 1
    while size < actions:
        length, size = length + 1, size * symbols
    return length if size == actions else None


def segment_kernel(policy: Tensor, symbols: int, segment: int) -> Tensor:
    """`K(y'|y)`: a random cut, `segment` symbols rewritten by `policy`, the old suffix kept.

    `policy (..., A)` over strings of `L` symbols, first symbol most significant; exact, by
    enumeration of the cuts; `(..., A) -> (..., A, A)`.
    """
    actions = policy.shape[-1]
    length = string_length(actions, symbols)
    assert length is not None
    index = torch.arange(actions)
    kernel = policy.new_zeros(*policy.shape, actions)
    for cut in range(length):
        end = min(cut + segment, length)
        tail, head = symbols ** (length - end), symbols ** (length - cut)
        same = (index // head)[:, None] == index // head
        same = same & ((index % tail)[:, None] == index % tail)
        through = policy.reshape(*policy.shape[:-1], -1, tail).sum(-1)[..., index // tail]
        prefix = policy.reshape(*policy.shape[:-1], -1, head).sum(-1)[..., index // head]
        conditional = through / prefix.clamp_min(1e-300)
        kernel = kernel + same * conditional.unsqueeze(-2) / length
    return kernel


@ALGORITHMS.register("sapo")
@dataclass(frozen=True)
class Sapo:
    """DPO between winners of the data and rewritten winners, against a slow copy of the policy.

    Every expectation is exact: over cuts, segments, and the buffer, which is the running mean of
    the last `buffer` rewriting laws.

    Attributes
    ----------
    symbols : alphabet size; None reads each action as one symbol (then the negative is `y' ~ π_ema`)
    segment : symbols rewritten at a time
    beta : `β > 0`
    decay : of the exponential moving average of the logits, in [0, 1)
    buffer, refresh : steps the buffer remembers; steps between copies of the opponent
    steps, learning_rate : Adam steps on the logits from `π_ref`
    """

    symbols: int | None = None
    segment: int = 1
    beta: float = 0.1
    decay: float = 0.5
    buffer: int = 20
    refresh: int = 50
    steps: int = 200
    learning_rate: float = 0.05

    def __post_init__(self) -> None:
        if self.symbols is not None:
            checks.integer("symbols", self.symbols, low=2)
        checks.number("beta", self.beta, low=0, open_low=True)
        checks.number("decay", self.decay, low=0, high=1, open_high=True)
        checks.number("learning_rate", self.learning_rate, low=0, open_low=True)
        for name in ("segment", "buffer", "refresh", "steps"):
            checks.integer(name, getattr(self, name), low=1)

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Strings need `A = symbols^L` actions."""
        actions = view.reference.shape[-1]
        if self.symbols is not None and string_length(actions, self.symbols) is None:
            return f"{actions} actions are no strings over {self.symbols} symbols"
        return None

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Train on winners alone."""
        wins = data.fraction.sum(-1)
        good = wins.sum(-1, keepdim=True) * share(wins, view.reference)
        logits = torch.zeros_like(good)
        slow, opponent = logits.clone(), logits.clone()
        optimiser = torch.optim.Adam([logits], lr=self.learning_rate)
        symbols = view.reference.shape[-1] if self.symbols is None else self.symbols
        kernel, gradient = torch.zeros_like(data.fraction), torch.zeros_like(good)
        for step in range(1, self.steps + 1):
            slow = self.decay * slow + (1 - self.decay) * logits
            rewritten = segment_kernel(log_policy(view, slow).exp(), symbols, self.segment)
            kernel = kernel + (rewritten - kernel) / min(step, self.buffer)
            s = self.beta * (logits - opponent)
            gradient = self.beta * tabular_preference_gradient(s, good.unsqueeze(-1) * kernel)
            logits.grad = gradient
            optimiser.step()
            if step % self.refresh == 0:
                opponent = slow.clone()
        norm = gradient.flatten(1).norm(dim=-1)
        return Fit(TabularPolicy(log_policy(view, logits).exp()), "stationarity", norm)
