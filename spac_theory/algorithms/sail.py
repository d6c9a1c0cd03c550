"""SAIL, Ding et al. (2024), arXiv 2406.15567: responses or labels that depend on the policy.

The exact gradient of the loss when responses or labels come from the policy has three terms; they
are written once here, for any law of (winner, loser), exact or sampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.online_loop import batches, online_skip
from spac_theory.learning.optimise import log_policy
from spac_theory.learning.preference_game import learn_preference
from spac_theory.links import Link
from spac_theory.objective import tabular_margins, tabular_preference_gradient
from spac_theory.rewards.linear import LinearClass
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy

TERMS = {"ddp": (False, True), "dpp": (True, True), "dpr": (True, False)}


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
class Sail:
    """Mixture of offline DPO and one of SAIL's three laws, by Adam on the exact gradient.

    "ddp": data pairs, labels by the policy's own `σ(β margin)`; "dpp": own pairs, own labels; "dpr":
    own pairs, labels of a reward model or of the online oracle.

    Attributes
    ----------
    variant, share : the law and its share in the loss
    beta : `β > 0`
    labels : for "dpr": "model" (fitted to the offline data) or "online" (spends the budget)
    steps, learning_rate : Adam steps on the logits from `π_ref`
    released : T2 as the released trainer computes it
    """

    variant: str = "dpr"
    share: float = 0.3
    beta: float = 0.1
    labels: str = "model"
    steps: int = 300
    learning_rate: float = 0.05
    released: bool = False

    def __post_init__(self) -> None:
        checks.choice("variant", self.variant, TERMS)
        checks.number("share", self.share, low=0, high=1)
        checks.number("beta", self.beta, low=0, open_low=True)
        checks.choice("labels", self.labels, ("model", "online"))
        checks.integer("steps", self.steps, low=1)
        checks.number("learning_rate", self.learning_rate, low=0, open_low=True)

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Online labels need a budget, the reward model needs features."""
        if self.variant == "dpr" and self.labels == "online":
            return online_skip(view, oracle)
        if self.variant == "dpr" and not isinstance(view.reward_class, LinearClass):
            return "the reward model needs a linear (or tabular) reward class"
        return None

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Train all data sets at once."""
        fraction = data.fraction
        online = self.variant == "dpr" and self.labels == "online"
        model = fraction
        if self.variant == "dpr" and not online:
            model = learn_preference("fitted", view, data, oracle)
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
        mine = self.beta * tabular_preference_gradient(implicit, pairs, view.link)
        if from_policy:
            loss = view.link.loss(margin)
            mine = mine + response_term(loss, pairs, log_policy(view, logits), self.released)
        if own_labels:
            mine = mine + self.beta * label_term(margin, pairs, view.link)
        offline = self.beta * tabular_preference_gradient(implicit, fraction, view.link)
        return (1 - self.share) * offline + self.share * mine
