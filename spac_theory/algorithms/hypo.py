"""HyPO, hybrid preference optimisation, Song et al. (2024), arXiv 2406.01462."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.contextual import tilt
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.dpo_loss import dpo_loss
from spac_theory.learning.likelihood import ridge_likelihood
from spac_theory.learning.needs import FEATURES, KNOWN_CONTEXTS, Coefficient, Learner, featured
from spac_theory.learning.optimise import SMALLEST_REFERENCE, fit_policy, log_policy, log_reference
from spac_theory.objective import tabular_preference_gradient
from spac_theory.options import choice, integer, number, positive
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


def sampled_divergence_gradient(
    log_pi: Tensor,
    base: Tensor,
    rho: Tensor,
    prompts: int,
    samples: int,
    streams: Sequence[np.random.Generator],
) -> Tensor:
    """An unbiased draw of `∇ E_x KL(π ‖ π_ref)` in the logits, `(S, X, A)`.

    The score-function estimator of the paper: `∇ log π(y) (f(y) − b)` with `f = log π/π_ref` held
    fixed and `b` the mean of `f` over the other `samples − 1` responses to the same prompt
    (leave-one-out); one response has no baseline, `b = 0`. Here
    `∇ log π(y) = e_y − π`. `log_pi (S, X, A)`, `base (X, A) = log π_ref`, `rho (X,)`.
    """
    draws = torch.as_tensor(np.stack([s.random((prompts, 1 + samples)) for s in streams]))
    edges = rho.cumsum(-1)[:-1].contiguous()
    x = torch.searchsorted(edges, draws[..., 0].contiguous(), right=True)  # (S, P)
    lane = torch.arange(len(streams))[:, None]
    edges = log_pi.exp().cumsum(-1)[lane, x][..., :-1].contiguous()
    y = torch.searchsorted(edges, draws[..., 1:].contiguous(), right=True)  # (S, P, k)
    f = (log_pi - base)[lane[..., None], x[..., None], y]
    weight = f if samples == 1 else (f - f.mean(-1, keepdim=True)) * (samples / (samples - 1))
    flat = (x[..., None] * log_pi.shape[-1] + y).flatten(1)
    total = torch.zeros_like(log_pi).flatten(1)
    total.scatter_add_(1, flat, weight.flatten(1))
    total = total.reshape(log_pi.shape) / (prompts * samples)
    return total - log_pi.exp() * total.sum(-1, keepdim=True)


@ALGORITHMS.register("hypo")
@dataclass(frozen=True)
class HyPo(Learner):
    """`min L_DPO + λ E_x KL(π ‖ π_ref)`: the KL term is what online samples of `π` estimate.

    No label is spent. `divergence = exact`: the expectation over `π` is a sum. Not convex in either
    parametrisation: `π_ref`, DPO's closed form and the even mixture of both are the starts.
    `divergence = sampled`: as networks are trained, by Adam from `π_ref` on responses drawn from
    `π`; the column `own_samples` counts them.
    """

    needs = frozenset({FEATURES, KNOWN_CONTEXTS})
    coefficient = Coefficient.LOCAL

    beta: float = positive(0.1, "strength β of the implicit KL regulariser")
    lam: float = number(0.01, "weight λ of the KL term", low=0)
    ridge: float = positive(1.0, "tie-break ridge/(2n) ‖β log π/π_ref‖²")
    divergence: str = choice(
        "exact", "exact, or sampled: from responses of the policy itself", ("exact", "sampled")
    )
    prompts: int = integer(32, "sampled: fresh prompts a step")
    samples: int = integer(2, "sampled: responses to each prompt; 1 has no baseline")
    steps: int = integer(500, "sampled: Adam steps")
    learning_rate: float = positive(0.1, "sampled: Adam's step at the start; it falls to 0")

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Minimise from three starts, or train on samples."""
        if self.divergence == "sampled":
            return self._train(view, data)
        base = log_reference(view)

        def loss(
            logits: Tensor, log_policy: Tensor, wins: Tensor, base: Tensor, rho: Tensor
        ) -> Tensor:
            divergence = (log_policy.exp() * (log_policy - base)).sum(-1)
            return dpo_loss(view, logits, wins, self.beta) + self.lam * rho * divergence

        dpo = tilt(view.reference, ridge_likelihood(view, data, self.ridge).reward, self.beta)
        starts = [torch.zeros_like(dpo)]
        for policy in (dpo, (dpo + view.reference) / 2):
            starts.append(policy.clamp_min(SMALLEST_REFERENCE).log() - base)
        found = fit_policy(
            view,
            loss,
            [data.fraction, base.unsqueeze(0), view.rho.unsqueeze(0)],
            starts,
            self.ridge * self.beta**2 / data.n.to(torch.float64),
        )
        return Fit(
            TabularPolicy(found.policy),
            "stationarity",
            found.gradient_norm,
            converged=found.converged,
            extra={"spread": found.spread},
        )

    def _train(self, view: LearnerView, data: WinnerCounts) -> Fit:
        """Stochastic gradient on samples of the policy; parameters are logits relative to `log π_ref`."""
        design, base, fraction = featured(view).design, log_reference(view), data.fraction
        streams = data.streams("hypo", view.key)
        ridge = self.ridge * self.beta**2 / data.n.to(torch.float64)
        theta = torch.zeros(len(fraction), design.parameters, dtype=torch.float64)
        optimiser = torch.optim.Adam([theta], lr=self.learning_rate)
        size = self.prompts, self.samples
        for step in range(self.steps):
            optimiser.param_groups[0]["lr"] = self.learning_rate * (1 - step / self.steps)
            logits = design.forward(theta)
            dpo = self.beta * tabular_preference_gradient(self.beta * logits, fraction, view.link)
            log_pi = log_policy(view, logits)
            kl = sampled_divergence_gradient(log_pi, base, view.rho, *size, streams)
            theta.grad = design.adjoint(dpo + self.lam * kl) + ridge[:, None] * theta
            optimiser.step()
        spent = torch.full((len(fraction),), self.steps * self.prompts * self.samples)
        policy = TabularPolicy(log_policy(view, design.forward(theta)).exp())
        return Fit(policy, "none", extra={"own_samples": spent})
