"""SAIL, Ding et al. (2024), arXiv 2406.15567: responses or labels that depend on the policy.

The exact gradient of the loss when responses or labels come from the policy has three terms; they
are written once here, for any law of (winner, loser), exact or sampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.needs import FEATURES, KNOWN_CONTEXTS, LABELS, Learner
from spac_theory.learning.online_loop import batches
from spac_theory.learning.optimise import log_policy
from spac_theory.learning.preference_game import learn_preference
from spac_theory.links import Link
from spac_theory.objective import tabular_margins, tabular_preference_gradient
from spac_theory.options import choice, flag, integer, number, positive
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy

TERMS = {"ddp": (False, True), "dpp": (True, True), "dpr": (True, False)}
SHARES = {"ddp": 0.4, "dpp": 0.3, "dpr": 0.3}  # released, for all three at once


def response_term(loss: Tensor, pairs: Tensor, log_pi: Tensor, released: bool) -> Tensor:
    """T2: `E[ℓ (∇ log π(y_w) + ∇ log π(y_l))]` in the logits, `(S, X, A)`.

    The released trainer divides by the log-probability where `∇ log π = ∇π/π` divides by the
    probability; `released` reproduces that.
    """
    weighted = pairs * loss
    mass = weighted.sum(-1) + weighted.sum(-2)
    if released:
        mass = mass / log_pi.clamp_max(-1e-9)
    return mass - log_pi.exp() * mass.sum(-1, keepdim=True)


def label_term(margin: Tensor, pairs: Tensor, link: Link) -> Tensor:
    """T3: `E[ℓ ∇ log σ(margin)] = −∇ ½ E[ℓ²]` at fixed pairs, in the implicit reward."""
    slope = pairs * link.loss(margin) * link.loss_derivatives(margin)[0]
    return slope.sum(-2) - slope.sum(-1)


def winner_pairs(law: Tensor, probability: Tensor) -> Tensor:
    """Law of (winner, loser) from a symmetric law of both draws and `P(a ≻ b)`."""
    return 2 * law * probability


@ALGORITHMS.register("sail")
@dataclass(frozen=True)
class Sail(Learner):
    """Mixture of offline DPO and one of SAIL's three laws, by Adam on the expected gradient.

    "ddp": data pairs, labels by the policy's own `σ(β margin)`; "dpp": own pairs, own labels; "dpr":
    own pairs, labels of a reward model or of the online oracle. The terms beyond DPO's have the
    released coefficients; 1 makes the gradient the exact one.
    """

    needs = frozenset({KNOWN_CONTEXTS})

    variant: str = choice("dpr", "the law: ddp, dpp or dpr", TERMS)
    share: float | None = number(
        None,
        "share of the law in the loss; null is the released one, 0.4 for ddp and 0.3 for the others",
        optional=True,
        low=0,
        high=1,
    )
    rho: float = number(0.2, "ddp: coefficient of the label term; 1 is the exact gradient", low=0)
    pi: float = number(
        0.2, "dpp: coefficient of the response and label terms; 1 is the exact gradient", low=0
    )
    gamma: float = number(
        0.3, "dpr: coefficient of the response term; 1 is the exact gradient", low=0
    )
    beta: float = positive(0.1, "strength β of the implicit KL regulariser")
    labels: str = choice(
        "model", "dpr: labels of a model fitted to the data, or online", ("model", "online")
    )
    hard: bool = flag(True, "dpr: the model's likelier response wins for sure, as released")
    steps: int = integer(300, "Adam steps")
    learning_rate: float = positive(0.05, "Adam's step")
    released: bool = flag(False, "the response term as the released trainer computes it")
    batch: int = integer(24, "released: prompts a step, by which that trainer forgets to divide")

    def needed(self) -> frozenset[str]:
        """Online labels need a budget, the reward model needs features."""
        if self.variant != "dpr":
            return self.needs
        return self.needs | {LABELS if self.labels == "online" else FEATURES}

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Train all data sets at once."""
        fraction = data.fraction
        online = self.variant == "dpr" and self.labels == "online"
        model = fraction
        if self.variant == "dpr" and not online:
            model = learn_preference("fitted", view, data, oracle)
            model = ((model - 0.5).sign() + 1) / 2 if self.hard else model
        access = oracle.online if online and oracle is not None else None
        sizes = batches(access, self.steps) if access is not None else [0] * self.steps
        logits = torch.zeros(fraction.shape[:3], dtype=torch.float64)
        optimiser = torch.optim.Adam([logits], lr=self.learning_rate)
        gradient = torch.zeros_like(logits)
        for size in sizes:
            pairs = None
            if access is not None:
                policy = log_policy(view, logits).exp()
                asked = access.pairs(size, policy, policy) if size else torch.zeros_like(data.wins)
                pairs = access.label(asked).to(torch.float64) / max(size, 1)
            gradient = self.gradient(view, logits, fraction, model, pairs)
            logits.grad = gradient
            optimiser.step()
        norm = gradient.flatten(1).norm(dim=-1)
        return Fit(TabularPolicy(log_policy(view, logits).exp()), "stationarity", norm)

    def law(self, view: LearnerView, logits: Tensor, fraction: Tensor, model: Tensor) -> Tensor:
        """The exact law of (winner, loser) of the variant, `(S, X, A, A)`."""
        if self.variant == "dpr":
            labels = model
        else:
            labels = view.link.probability(tabular_margins(self.beta * logits))
        if self.variant == "ddp":
            return winner_pairs((fraction + fraction.transpose(-1, -2)) / 2, labels)
        policy = log_policy(view, logits).exp()
        drawn = view.rho[:, None, None] * policy.unsqueeze(-1) * policy.unsqueeze(-2)
        return winner_pairs(drawn, labels)

    def gradient(
        self,
        view: LearnerView,
        logits: Tensor,
        fraction: Tensor,
        model: Tensor,
        pairs: Tensor | None = None,
    ) -> Tensor:
        """Gradient of the mixture in the logits; `pairs` are sampled labels, None for exact."""
        pairs = self.law(view, logits, fraction, model) if pairs is None else pairs
        implicit = self.beta * logits
        margin = tabular_margins(implicit)
        from_policy, own_labels = TERMS[self.variant]
        weight = {"ddp": self.rho, "dpp": self.pi, "dpr": self.gamma}[self.variant]
        mine = self.beta * tabular_preference_gradient(implicit, pairs, view.link)
        if from_policy:
            loss = view.link.loss(margin)
            term = response_term(loss, pairs, log_policy(view, logits), self.released)
            mine = mine + weight * (self.batch if self.released else 1) * term
        if own_labels:
            mine = mine + weight * self.beta * label_term(margin, pairs, view.link)
        offline = self.beta * tabular_preference_gradient(implicit, fraction, view.link)
        share = SHARES[self.variant] if self.share is None else self.share
        return (1 - share) * offline + share * mine
