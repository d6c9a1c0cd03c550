"""Regularised maximum likelihood: `min_θ E_D(Mθ) + (γ/2)‖θ‖²`, the fit that most rivals start from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.links import Link
from spac_theory.objective import tabular_preference_derivatives, tabular_preference_loss
from spac_theory.solvers.design import Design


@dataclass(frozen=True)
class RidgeFit:
    """Parameters `(S, p)`, rewards `(S, X, A)` and the certified gap `‖∇‖²/(2γ)`, `(S,)`."""

    theta: Tensor
    reward: Tensor
    gap: Tensor


def ridge_fit(
    design: Design, data: WinnerCounts, ridge: Tensor | float, link: Link, tolerance: float = 1e-10
) -> RidgeFit:
    """Damped Newton for every data set at once; `ridge` is `γ > 0`, a number or `(S,)`.

    The objective is `γ`-strongly convex, so its suboptimality is at most `‖∇‖²/(2γ)`: the solver
    stops a data set when that is below `tolerance`, whatever the others of its batch need.
    """
    fraction = data.fraction
    gamma = torch.as_tensor(ridge, dtype=torch.float64).expand(len(fraction)).clone()
    checks.number("ridge", float(gamma.min()), low=0, open_low=True)
    theta = torch.zeros(len(fraction), design.parameters, dtype=torch.float64)

    def value(point: Tensor) -> Tensor:
        loss = tabular_preference_loss(design.forward(point), fraction, link)
        return loss + gamma / 2 * (point**2).sum(-1)

    gap = torch.full_like(gamma, torch.inf)
    for _ in range(60):
        gradient, hessian = tabular_preference_derivatives(design.forward(theta), fraction, link)
        slope = design.adjoint(gradient) + gamma[:, None] * theta
        gap = (slope**2).sum(-1) / (2 * gamma)
        going = gap > tolerance
        if not bool(going.any()):
            break
        step = design.factor(hessian, gamma).solve(slope)
        if not bool(torch.isfinite(step).all()):
            raise FloatingPointError(
                "a Newton system is not positive definite; is the data finite?"
            )
        step = torch.where(going[:, None], step, 0.0)
        theta = theta - _backtrack(value, theta, step, (slope * step).sum(-1))[:, None] * step
    return RidgeFit(theta, design.forward(theta), gap)


def _backtrack(value: object, theta: Tensor, step: Tensor, decrement: Tensor) -> Tensor:
    """Armijo's rule on each lane; near the solution rounding hides any decrease, so step fully."""
    assert callable(value)
    before = value(theta)
    size = torch.ones_like(decrement)
    for _ in range(30):
        after = value(theta - size[:, None] * step)
        enough = after <= before - 1e-4 * size * decrement + 1e-14 * before.abs()
        if bool(enough.all()):
            break
        size = torch.where(enough, size, size / 2)
    return size
