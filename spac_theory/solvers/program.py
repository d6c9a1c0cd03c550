"""The convex program behind the game (3), its critic's problem, and what certifies an answer.

    minimise over θ   [ E_x max_a r(x,a) ]  +  ⟨c, r⟩  +  λ E_D(r),      r = offset + M θ,
    subject to        low ≤ r(x,a) ≤ high   and   ‖θ‖ ≤ B    (each where the class has it).

With the bracket and `c = −ρν` this is theory (7), whose multipliers are the policy; without it and
with `c = ρ(π − ν)` it is the critic's best response (4). All problems of a batch are independent
lanes of the leading axis `S`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from spac_theory.links import BRADLEY_TERRY, Link
from spac_theory.objective import PreferenceTerm, game_value, tabular_preference_loss
from spac_theory.solvers.design import DenseDesign, Design

SMALLEST_CONTEXT_WEIGHT = 1e-12
ROUNDING = 1e-13
SMALLEST_SLACK = 1e-6  # of the width of the range, in the weights of a repair
REPAIRS = 3
RANK_TOLERANCE = 1e-13


@dataclass(frozen=True)
class Program:
    """One convex program a lane; see the module's docstring for the problem.

    Attributes
    ----------
    linear : (S, X, A)
        `c`, a linear term in the rewards.
    lam : (S,)
        `λ ≥ 0`.
    win_fraction : (S, X, A, A)
        `W / n`.
    design, offset : the map from parameters to rewards; `offset (S, X, A)` or None for 0.
    start : (p,)
        Parameters strictly inside the bounds.
    rho : (X,) or None
        Context weights of the max; None for the critic's problem.
    low, high : reward range, infinite where there is none.
    radius : `B`, infinite where there is no ball; `certificate_radius` is a finite bound on `‖θ‖`.
    term : `λ E_D` in the form whose derivatives cost least, see :meth:`prepared`; None until then
    """

    linear: Tensor
    lam: Tensor
    win_fraction: Tensor
    design: Design
    start: Tensor
    certificate_radius: float
    rho: Tensor | None = None
    offset: Tensor | None = None
    low: float = -math.inf
    high: float = math.inf
    radius: float = math.inf
    link: Link = BRADLEY_TERRY
    term: PreferenceTerm | None = None

    def prepared(self) -> Self:
        """The same program, with `term` at hand for all the steps to come."""
        weight = self.lam[:, None, None, None] * self.win_fraction
        return replace(self, term=PreferenceTerm.of(weight, self.link))

    @property
    def boxed(self) -> bool:
        """Whether rewards are bounded."""
        return math.isfinite(self.low)

    @property
    def balled(self) -> bool:
        """Whether the norm of the parameters is bounded."""
        return math.isfinite(self.radius)

    @cached_property
    def context_weight(self) -> Tensor | None:
        """`ρ` as a column `(X, 1)`, kept positive so that every context has multipliers."""
        if self.rho is None:
            return None
        return self.rho.clamp_min(SMALLEST_CONTEXT_WEIGHT).unsqueeze(-1)

    @cached_property
    def signs(self) -> Tensor:
        """What one more unit of reward adds to the slacks `u − r`, `r − low`, `high − r`, `(K, 1, 1)`."""
        signs = [-1.0] * (self.rho is not None) + [1.0, -1.0] * self.boxed
        return self.lam.new_tensor(signs).reshape(-1, 1, 1)

    def reward(self, theta: Tensor) -> Tensor:
        """`offset + M θ`, `(S, X, A)`."""
        reward = self.design.forward(theta)
        return reward if self.offset is None else reward + self.offset

    def smooth_value(self, reward: Tensor) -> Tensor:
        """`⟨c, r⟩ + λ E_D(r)`, `(S,)`."""
        preference = tabular_preference_loss(reward, self.win_fraction, self.link)
        return game_value((self.linear * reward).sum((-2, -1)), preference, self.lam)

    def smooth_derivatives(self, reward: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient `(S, X, A)` of :meth:`smooth_value`, and the edges `(S, X, A, A)` of its Hessian.

        The Hessian is the graph Laplacian of these edges, see :class:`~spac_theory.objective.PreferenceTerm`.
        """
        term = self.term or self.prepared().term
        assert term is not None
        gradient, edges = term.derivatives(reward)
        return self.linear + gradient, edges

    def step_limit(self, change: Tensor) -> Tensor:
        """Largest sensible share, at most 1, of a Newton step that changes rewards by `change`, `(S, 1)`."""
        return change.new_ones(1, 1)

    def value(self, reward: Tensor) -> Tensor:
        """The objective, `(S,)`."""
        smooth = self.smooth_value(reward)
        if self.rho is None:
            return smooth
        return smooth + (self.rho * reward.max(-1).values).sum(-1)

    def allowed_gap(self, reward: Tensor, tolerance: float) -> Tensor:
        """`tolerance · max(1, |L|)`, `(S,)`, with `L` the terms linear in the reward and the max.

        The size of `λ E_D`, which grows like `√n` in a sweep, says nothing about how well a policy is
        known, so it is left out; only what floating point makes of it, `ROUNDING · λ`, is granted.
        """
        size = (self.linear * reward).sum((-2, -1))
        if self.rho is not None:
            size = size + (self.rho * reward.max(-1).values).sum(-1)
        return torch.maximum(tolerance * size.abs().clamp_min(1), ROUNDING * self.lam)

    def optimality_gap(
        self, theta: Tensor, reward: Tensor, gradient: Tensor, z_low: Tensor, z_high: Tensor
    ) -> Tensor:
        """A rigorous bound on `f(r) − min f` over the class, for smooth convex `f`, `(S,)`.

        `gradient` is `∇f` in reward space. By convexity `f(r′) ≥ f(r) + ⟨∇f, r′ − r⟩`; the right-hand
        side is bounded over the class by weak duality with any `z ≥ 0`:
        `z_high·(high − r) + z_low·(r − low) + ⟨e, θ⟩ + B‖e‖`, `e = Mᵀ(∇f + z_high − z_low)`.
        A table with a range alone needs no ball: `z` can cancel the gradient exactly.
        """
        table = getattr(self.design, "blocks", self) is None
        if self.boxed and not self.balled and table:
            z_high, z_low = (-gradient).clamp_min(0), gradient.clamp_min(0)
            residual = torch.zeros_like(theta)
        else:
            total = gradient + z_high - z_low if self.boxed else gradient
            residual = self.design.adjoint(total)
        norm = residual.norm(dim=-1)
        gap = (residual * theta).sum(-1) + self.certificate_radius * norm
        if self.boxed:
            gap = gap + (z_high * (self.high - reward) + z_low * (reward - self.low)).sum((-2, -1))
        return gap

    def repaired_gap(
        self, theta: Tensor, reward: Tensor, gradient: Tensor, z_low: Tensor, z_high: Tensor
    ) -> Tensor:
        """The bound of :meth:`optimality_gap` with multipliers near `z` that leave no residual, `(S,)`.

        Any `z ≥ 0` certifies. The residual is spread over the rows of the design, least where rewards are
        far from a bound, so that it costs the certificate its share of a slack and not a radius. A ball
        that is active keeps what points along `θ`.
        """
        net = z_high - z_low
        pull = torch.zeros_like(theta)
        found = self.optimality_gap(
            theta, reward, gradient, *self._repaired(reward, gradient, net, pull)
        )
        if self.balled:
            along = (self.design.adjoint(gradient + net) * theta).sum(-1, keepdim=True).clamp_max(0)
            pull = -along / (theta**2).sum(-1, keepdim=True).clamp_min(1e-300) * theta
            again = self._repaired(reward, gradient, net, pull)
            found = found.fmin(self.optimality_gap(theta, reward, gradient, *again))
        return found

    def _repaired(
        self, reward: Tensor, gradient: Tensor, net: Tensor, pull: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Multipliers of low and high with `Mᵀ(∇f + z_high − z_low) = −pull`, near `net`."""
        width = self.high - self.low
        slack = torch.minimum(self.high - reward, reward - self.low)
        weight = 1 / (slack / width).clamp_min(SMALLEST_SLACK)
        nothing = self.lam.new_zeros(*reward.shape, reward.shape[-1])
        factor = self.design.factor(nothing, None, weight)
        for _ in range(REPAIRS):
            residual = self.design.adjoint(gradient + net) + pull
            net = net - weight * self.design.forward(factor.solve(residual))
        return (-net).clamp_min(0), net.clamp_min(0)

    def select(self, lanes: Tensor | slice) -> Self:
        """The problems `lanes` alone."""
        return replace(
            self,
            linear=self.linear[lanes],
            lam=self.lam[lanes],
            win_fraction=self.win_fraction[lanes],
            term=None if self.term is None else self.term.select(lanes),
            design=self.design.select(lanes),
            offset=None if self.offset is None else self.offset[lanes],
        )


def rotated(program: Program) -> tuple[Program, Tensor | None]:
    """The same program in the singular directions of its features, and the matrix that leads back.

    Rewards are `Mθ = U S Vᵀθ`. With a ball the parameters are `Vᵀθ`: the norm is the same on the row
    space, directions that no reward sees are gone, and a Newton matrix graded by `S` loses less to
    rounding. With a range alone they are `S Vᵀθ`, whose norm is that of the rewards, so that the radius
    of the certificate does not grow with the condition of the features. None where there is no `M`
    common to the lanes, or no rank.
    """
    design = program.design
    if not isinstance(design, DenseDesign) or len(design.phi) != 1:
        return program, None
    rows = design.phi[0].flatten(0, 1)
    u, s, vt = torch.linalg.svd(rows, full_matrices=False)
    rank = int((s > RANK_TOLERANCE * s[0]).sum())
    if rank == 0:
        return program, None
    u, s, vt = u[:, :rank], s[:rank], vt[:rank]
    if program.balled:
        phi, there, back, radius = u * s, vt, vt.T, program.certificate_radius
    else:
        phi, there, back = u, s[:, None] * vt, vt.T / s
        radius = max(abs(program.low), abs(program.high)) * math.sqrt(len(rows))
    new = DenseDesign(phi.reshape(1, *design.phi.shape[1:3], rank))
    start = there @ program.start
    return replace(program, design=new, start=start, certificate_radius=radius), back
