"""SPO's preference-degree loss, Li et al. (2024), arXiv 2409.17791, on sets of key items.

The paper deletes keywords from a response and has a classifier tell how many are gone. Here an
action is a set of items (the bits of its index), and policy and classifier share one linear encoder.
Only the paper's abstract and summaries could be read: the loss below is a reconstruction.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.bandit.strings import string_length
from spac_theory.keys import generator
from spac_theory.learning.needs import KNOWN_CONTEXTS, Learner
from spac_theory.learning.optimise import log_policy
from spac_theory.objective import tabular_preference_loss
from spac_theory.options import integer, number, positive
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


def item_bits(actions: int) -> Tensor:
    """Which items each action contains, `(A, log₂ A)` of 0 and 1."""
    items = string_length(actions, 2)
    assert items is not None
    return (torch.arange(actions)[:, None] >> torch.arange(items) & 1).to(torch.float64)


def removal_kernels(actions: int, levels: int) -> Tensor:
    """`T[k, a, a']`: remove `k` of the items of `a` at random (all of them if there are fewer)."""
    single = torch.zeros(actions, actions, dtype=torch.float64)
    bits = item_bits(actions)
    for a in range(actions):
        held = bits[a].nonzero().flatten().tolist()
        for item in held:
            single[a, a - (1 << item)] = 1 / len(held)
        if not held:
            single[a, a] = 1
    kernels = [torch.eye(actions, dtype=torch.float64)]
    for _ in range(levels - 1):
        kernels.append(kernels[-1] @ single)
    return torch.stack(kernels)


def edited(marginals: Tensor, levels: int) -> Tensor:
    """How often each action is there with each level taken out, `(..., A) -> (..., K, A)`, levels uniform."""
    kernels = removal_kernels(marginals.shape[-1], levels)
    return torch.einsum("...a,kab->...kb", marginals, kernels) / levels


def degree_loss(edits: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy of the level under `edits (..., K, A)`, from `logits (..., A, K)` of a classifier."""
    told = torch.log_softmax(logits, -1).transpose(-1, -2)
    return -(edits * told).sum((-2, -1))


@ALGORITHMS.register("spo")
@dataclass(frozen=True)
class Spo(Learner):
    """`L_DPO + γ (CE of the removal level of edited winners + the same for losers)`, by Adam.

    The logit of action `a` is `v_x · U b(a)` relative to `log π_ref`, with items `b(a)` and one
    encoder `U` for all contexts; the classifier reads `U b(a)`. With `gamma = 0` it is DPO on those
    features.
    """

    needs = frozenset({KNOWN_CONTEXTS})

    beta: float = positive(0.1, "strength β of the implicit KL regulariser")
    gamma: float = number(0.3, "weight γ of the degree loss", low=0)
    levels: int = integer(3, "removal levels told apart", low=2)
    width: int = integer(2, "size of the encoding")
    steps: int = integer(300, "Adam steps")
    learning_rate: float = positive(0.05, "Adam's step")

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Actions must be the subsets of a set."""
        actions = view.reference.shape[-1]
        whole = string_length(actions, 2) is not None
        if not whole:
            return f"{actions} actions are not the subsets of a set (no power of 2)"
        return super().skip(view, oracle)

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Train encoder, policy heads and classifier together."""
        fraction = data.fraction
        seeds, contexts, actions, _ = fraction.shape
        bits = item_bits(actions)
        # Edited winners and losers, pooled over contexts: weight (S, K, A) of "level k, action a".
        edits = edited((fraction.sum(-1) + fraction.sum(-2)).sum(-2), self.levels)
        rng = generator("spo", view.key)
        shapes = ((bits.shape[1], self.width), (contexts, self.width), (self.width, self.levels))
        start = [torch.as_tensor(rng.normal(0, 0.3, shape)) for shape in shapes]
        encoder, heads, classifier = (
            v.expand(seeds, *v.shape).clone().requires_grad_(True) for v in start
        )
        bias = torch.zeros(seeds, 1, self.levels, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.Adam([encoder, heads, classifier, bias], lr=self.learning_rate)
        for _ in range(self.steps):
            optimiser.zero_grad()
            code = bits @ encoder
            logits = heads @ code.transpose(-1, -2)
            loss = tabular_preference_loss(self.beta * logits, fraction, view.link)
            total = loss + self.gamma * degree_loss(edits, code @ classifier + bias)
            total.sum().backward()
            optimiser.step()
        assert heads.grad is not None
        norm = heads.grad.flatten(1).norm(dim=-1)
        logits = (heads @ (bits @ encoder).transpose(-1, -2)).detach()
        return Fit(TabularPolicy(log_policy(view, logits).exp()), "stationarity", norm)
