"""Linear Alignment, Gao et al. (2024), arXiv 2401.11458: one step at inference time, closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.baselines import share
from spac_theory.learning.likelihood import ridge_likelihood
from spac_theory.learning.needs import FEATURES, KNOWN_CONTEXTS, Learner
from spac_theory.learning.optimise import log_reference
from spac_theory.options import choice, number, positive
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


def logit_step(log_pi: Tensor, reward: Tensor, delta: float) -> Tensor:
    """`θ₀ + √(2δ) g/‖g‖`, `g = ∇_θ E_π[r] = π (r − E_π r)`, one budget `δ` a context."""
    policy = log_pi.exp()
    g = policy * (reward - (policy * reward).sum(-1, keepdim=True))
    return log_pi + math.sqrt(2 * delta) * g / g.norm(dim=-1, keepdim=True).clamp_min(1e-300)


def nucleus(policy: Tensor, top_p: float) -> Tensor:
    """The smallest set of likeliest actions that holds `top_p` of the mass, as a mask `(..., A)`."""
    ordered, places = policy.sort(dim=-1, descending=True, stable=True)
    kept = ordered.cumsum(-1) - ordered < top_p
    return torch.zeros_like(kept).scatter(-1, places, kept)


def released_step(
    told: Tensor, base: Tensor, size: float, temperature: float, top_p: float, decode: str
) -> Tensor:
    """What the release plays, `(..., A)`: contrast, temperature, nucleus of the told policy, argmax.

    `told` and `base` are log-policies. Where the contrast leaves nothing of the nucleus, it is played.
    """
    plain = torch.softmax(told / temperature, -1)
    mask = nucleus(plain, top_p)
    contrast = torch.softmax((told + size * (told - base)) / temperature, -1) * mask
    total = contrast.sum(-1, keepdim=True)
    policy = torch.where(total > 0, contrast, plain * mask)
    if decode == "argmax":
        return torch.nn.functional.one_hot(policy.argmax(-1), policy.shape[-1]).to(policy.dtype)
    return policy / policy.sum(-1, keepdim=True)


@ALGORITHMS.register("linear_alignment")
@dataclass(frozen=True)
class LinearAlignment(Learner):
    """One first-order step from `π_ref`, as released or in one of three closed forms.

    "released": decoding by contrast, `z_p + size (z_p − z_0)` at temperature `T`, restricted to the
    nucleus of the policy told the principle; here the winners of the data smoothed by one draw of
    `π_ref` stand for that policy.
    "contrastive": the same contrast and nothing else, `π ∝ π_p^{1+size}/π_ref^{size}`.
    "logit": along the gradient of the value in the logits, with Euclidean budget `√(2 size)`.
    "natural": the natural gradient, `π ∝ π_ref exp(size · r̂)`: one step of REBEL. The last two use the
    ridge fit `r̂`, and no released code has them.
    """

    needs = frozenset({KNOWN_CONTEXTS})

    form: str = choice(
        "released",
        "released (contrast, temperature, nucleus), contrastive, logit or natural",
        ("released", "contrastive", "logit", "natural"),
    )
    size: float = number(3.0, "length of the step", low=0)
    temperature: float = positive(0.5, "released: temperature of the decoder")
    top_p: float = number(0.8, "released: mass of the nucleus", low=0, high=1, open_low=True)
    decode: str = choice("argmax", "released: argmax, or sample", ("argmax", "sample"))

    def needed(self) -> frozenset[str]:
        """Two of the forms need features for the reward."""
        return self.needs | {FEATURES} if self.form in ("logit", "natural") else self.needs

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Take the step."""
        base = log_reference(view).log_softmax(-1)
        if self.form in ("released", "contrastive"):
            wins = data.wins.sum(-1).to(torch.float64) + view.reference
            told = share(wins, view.reference).clamp_min(1e-30).log()
            if self.form == "released":
                options = (self.size, self.temperature, self.top_p, self.decode)
                return Fit(TabularPolicy(released_step(told, base, *options)), "closed form")
            logits = told + self.size * (told - base)
        else:
            reward = ridge_likelihood(view, data, 1.0).reward
            start = base.expand_as(reward)
            natural = self.form == "natural"
            logits = start + self.size * reward if natural else logit_step(start, reward, self.size)
        return Fit(TabularPolicy(torch.softmax(logits, -1)), "closed form")
