"""Practical SPAC, the paper's Algorithm 2, as iterated self-play of a tabular policy.

Each round draws `y' ~ π_t` (or takes the exact expectation), then lowers theory (9) or (10) by a
finite number of Adam steps from `π_t`. With a table both are preference losses on weighted pairs:
(10) ranks data responses above the policy's own, with weight `m(y|x) π_t(y'|x)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.needs import KNOWN_CONTEXTS, Learner
from spac_theory.learning.optimise import log_policy
from spac_theory.objective import tabular_preference_gradient
from spac_theory.options import choice, flag, integer, number, positive
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


def selfplay_pairs(wins: Tensor, policy: Tensor, baseline: str) -> Tensor:
    """Exact weights `(S, X, A, A)` of "data response `y`, own response `y'`", summing to 1.

    `wins (S, X, A, A)` are the pairs of the data, `policy` is `π_t`; `baseline` says which response
    of a pair is used: "both", "chosen" or "rejected".
    """
    shares = {"chosen": wins.sum(-1), "rejected": wins.sum(-2)}
    shares["both"] = (shares["chosen"] + shares["rejected"]) / 2
    marginal = shares[baseline].to(torch.float64)
    marginal = marginal / marginal.sum((-2, -1), keepdim=True)
    return marginal.unsqueeze(-1) * policy.unsqueeze(-2)


def sampled_pairs(
    wins: Tensor, policy: Tensor, baseline: str, streams: list[np.random.Generator]
) -> Tensor:
    """The same from one draw `y' ~ π_t` for every pair of the data."""
    seeds, contexts, actions, _ = wins.shape
    out = np.zeros((seeds, contexts, actions, actions))
    for row, stream in enumerate(streams):
        law = policy[row].numpy(force=True)
        law = (law / law.sum(-1, keepdims=True))[:, None, None, :]
        drawn = stream.multinomial(
            wins[row].numpy(force=True), law
        )  # (X, A winner, A loser, A own)
        chosen, rejected = drawn.sum(2), drawn.sum(1)
        out[row] = {"chosen": chosen, "rejected": rejected, "both": (chosen + rejected) / 2}[
            baseline
        ]
    total = out.sum((-3, -2, -1), keepdims=True)
    return torch.as_tensor(out / total)


@ALGORITHMS.register("spac_practical")
@dataclass(frozen=True)
class SpacPractical(Learner):
    """Theory (10) (`form="smoothed"`) or (9) (`form="linear"`) round after round."""

    needs = frozenset({KNOWN_CONTEXTS})

    beta: float = positive(0.3, "strength β of the implicit KL regulariser")
    beta_c: float | None = positive(None, "the critic's β; null for the same", optional=True)
    lam: str = choice("fixed", "rule for λ: sqrt_n or fixed", ("sqrt_n", "fixed"))
    scale: float = number(10.0, "multiplies the rule's λ (for fixed it is λ)", low=0)
    w: float = number(1.0, "weight of the critic term", low=0)
    form: str = choice("smoothed", "smoothed (10) or linear (9)", ("smoothed", "linear"))
    baseline: str = choice(
        "both",
        "data responses that stand for ν: both, chosen or rejected",
        ("both", "chosen", "rejected"),
    )
    selfplay: str = choice("exact", "exact or sampled", ("exact", "sampled"))
    rounds: int = integer(6, "rounds of self-play")
    steps: int = integer(150, "Adam steps")
    learning_rate: float = positive(0.05, "Adam's step")
    shrink: bool = flag(False, "whether the step 1/β shrinks like 1/√t")
    output: str = choice("last", "last or mixture", ("last", "mixture"))

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Self-play from `π_ref`."""
        wins, n = data.wins, data.n.to(torch.float64)
        lam = self.scale * (n.sqrt() if self.lam == "sqrt_n" else torch.ones_like(n))
        streams = data.streams("self-play", view.key)
        logits = torch.zeros(wins.shape[:3], dtype=torch.float64)
        mixture = torch.zeros_like(logits)
        slope = torch.zeros_like(logits)
        for t in range(1, self.rounds + 1):
            policy = log_policy(view, logits).exp()
            if self.selfplay == "exact":
                pairs = selfplay_pairs(wins, policy, self.baseline)
            else:
                pairs = sampled_pairs(wins, policy, self.baseline, streams)
            beta = self.beta * (math.sqrt(t) if self.shrink else 1.0)
            logits, slope = self._round(logits, pairs, data.fraction, lam, beta)
            mixture += log_policy(view, logits).exp() / self.rounds
        last = log_policy(view, logits).exp()
        table = last if self.output == "last" else mixture / mixture.sum(-1, keepdim=True)
        norm = slope.flatten(1).norm(dim=-1)
        return Fit(TabularPolicy(table), "stationarity", norm, lam)

    def _round(
        self, start: Tensor, pairs: Tensor, fraction: Tensor, lam: Tensor, beta: float
    ) -> tuple[Tensor, Tensor]:
        """Adam on the logits from `start`; returns them and the last gradient."""
        logits = start.clone()
        optimiser = torch.optim.Adam([logits], lr=self.learning_rate)
        gradient = torch.zeros_like(logits)
        for _ in range(self.steps):
            s = beta * (logits - start)
            gradient = beta * self.gradient(s, pairs, fraction, lam)
            logits.grad = gradient
            optimiser.step()
        return logits, gradient

    def gradient(self, s: Tensor, pairs: Tensor, fraction: Tensor, lam: Tensor) -> Tensor:
        """Gradient of (9) or (10) in `s (S, X, A)`, `(S, X, A)`."""
        weighted = lam[:, None, None, None] * fraction
        ratio = (self.beta if self.beta_c is None else self.beta_c) / self.beta
        if self.form == "smoothed" and ratio == 1:
            return tabular_preference_gradient(s, self.w * pairs + weighted)
        if self.form == "linear":
            critic = pairs.sum(-2) - pairs.sum(-1)
        else:
            critic = self.w * ratio * tabular_preference_gradient(ratio * s, pairs)
        return critic + tabular_preference_gradient(s, weighted)
