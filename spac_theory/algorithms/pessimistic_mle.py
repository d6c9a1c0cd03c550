"""Pessimistic maximum likelihood for linear rewards, Zhu, Jordan and Jiao (2023), arXiv 2301.11270.

The confidence set is the ellipsoid `‖θ − θ̂‖_{Σ_D + ridge·I} ≤ radius` around the fit. The policy
maximises its smallest value over it, on average over contexts (the paper's form) or action by
action (a pointwise lower confidence bound).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.algorithms import ALGORITHMS
from spac_theory.bandit.contextual import greedy
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.learning.likelihood import ridge_likelihood
from spac_theory.learning.needs import FEATURES, KNOWN_CONTEXTS, Coefficient, Learner, featured
from spac_theory.options import choice, positive
from spac_theory.rewards.linear import LinearClass
from spac_theory.solvers.design import BlockDesign, DenseDesign, Design
from spac_theory.solvers.interior_point import solve
from spac_theory.solvers.program import Program
from spac_theory.view import Fit, LearnerView, Oracle, TabularPolicy


def whitened_design(cls: LinearClass, data: WinnerCounts, ridge: Tensor, radius: Tensor) -> Design:
    """The design in coordinates `η` with `θ = θ̂ + radius · C⁻ᵀ η`, `C Cᵀ = Σ_D + ridge·I`.

    The confidence ellipsoid becomes the unit ball. `ridge` and `radius` are `(S,)`.
    """
    pairs = data.fraction + data.fraction.transpose(-1, -2)
    laplacian = torch.diag_embed(pairs.sum(-1)) - pairs  # Σ_D in reward space, (S, X, A, A)
    scale = radius[:, None, None, None]
    if cls.tabular:
        eye = torch.eye(laplacian.shape[-1], dtype=torch.float64)
        lower = torch.linalg.cholesky(laplacian + ridge[:, None, None, None] * eye)
        inverse = torch.linalg.solve_triangular(lower, eye.expand_as(lower), upper=False)
        return BlockDesign(*cls.shape, blocks=scale * inverse.transpose(-1, -2))
    features = cls.features
    covariance = torch.einsum("xad,sxab,xbe->sde", features, laplacian, features)
    eye = torch.eye(cls.dimension, dtype=torch.float64)
    lower = torch.linalg.cholesky(covariance + ridge[:, None, None] * eye)
    inverse = torch.linalg.solve_triangular(lower, eye.expand_as(lower), upper=False)
    return DenseDesign(scale * torch.einsum("xad,sed->sxae", features, inverse))


@ALGORITHMS.register("pessimistic_mle")
@dataclass(frozen=True)
class PessimisticMaximumLikelihood(Learner):
    """`max_π min_{θ in ellipsoid} L(π, φθ)`, or its pointwise form.

    Attributes
    ----------
    form : "on_average" (a second-order cone program, certified) or "pointwise"
    scale : the constant `C` of the radius, which the paper leaves unspecified
    ridge : regulariser of the covariance, in units of `1/n`

    The radius is `C √((d + log(1/δ)) κ²/n + (ridge/n) B²)` with `κ = 2 + 2 cosh R` for Bradley–Terry,
    as in the paper, and `Link.kappa` for another link.
    """

    needs = frozenset({FEATURES, KNOWN_CONTEXTS})
    coefficient = Coefficient.SINGLE

    form: str = choice(
        "on_average",
        "over contexts, the paper's form, or action by action",
        ("on_average", "pointwise"),
    )
    scale: float = positive(0.1, "constant of the radius, which the paper leaves open")
    ridge: float = positive(1.0, "ridge of the covariance, in units of 1/n")

    def _radius(self, view: LearnerView, n: Tensor) -> Tensor:
        cls = featured(view)
        kappa = view.link.kappa(cls.difference_bound)
        statistical = (cls.dimension + math.log(1 / view.delta)) * kappa**2
        return self.scale * ((statistical + self.ridge * cls.radius**2) / n).sqrt()

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Fit, build the ellipsoid, be pessimistic over it."""
        n = data.n.to(torch.float64)
        centre = ridge_likelihood(view, data, self.ridge).reward
        radius = self._radius(view, n)
        design = whitened_design(featured(view), data, self.ridge / n, radius)
        if self.form == "pointwise":
            width = _pointwise_width(design, view.baseline)
            return Fit(TabularPolicy(greedy(centre - width)), "closed form", reward=centre)
        program = Program(
            linear=(-view.rho[:, None] * view.baseline).expand_as(centre),
            lam=torch.zeros_like(n),
            win_fraction=data.fraction,
            design=design,
            start=torch.zeros(design.parameters, dtype=torch.float64),
            certificate_radius=1.0,
            rho=view.rho,
            offset=centre,
            radius=1.0,
            link=view.link,
        )
        solution = solve(program)
        assert solution.policy is not None
        policy = TabularPolicy(solution.policy)
        return Fit(
            policy,
            "duality gap",
            solution.gap,
            reward=solution.reward,
            converged=solution.converged,
        )


def _pointwise_width(design: Design, baseline: Tensor) -> Tensor:
    """`radius · ‖φ(x,a) − φ(x,ν)‖` in the inverse covariance, `(S, X, A)`."""
    if isinstance(design, BlockDesign):
        assert design.blocks is not None
        rows = design.blocks
    else:
        assert isinstance(design, DenseDesign)
        rows = design.phi
    centre = torch.einsum("xa,sxad->sxd", baseline, rows)
    return (rows - centre.unsqueeze(-2)).norm(dim=-1)
