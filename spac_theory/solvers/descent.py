"""Newton steps until every lane is certified, and the best certified iterate of each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.solvers.iterate import Iterate
from spac_theory.solvers.program import Program
from spac_theory.solvers.steps import Evaluated, careful_step, plain_step

WARM_LEVEL = 1e-2


def policy_of(program: Program, x: Iterate) -> Tensor | None:
    """`π = w / Σ w`, uniform where `ρ(x) = 0`."""
    if program.rho is None:
        return None
    w = x.z[:, 0]
    return torch.where(program.rho[:, None] > 0, w / w.sum(-1, keepdim=True), 1.0 / w.shape[-1])


def certified_gap(program: Program, now: Evaluated, repair: bool = False) -> Tensor:
    """The certificate of the current pair, `(S,)`: see :meth:`Program.optimality_gap`.

    For the saddle it is theory (6) bounded from above: `max_π′ G(π′,r) − G(π,r)`, exact, plus the
    bound on `G(π,r) − min_r′ G(π,r′)`. `repair` tries repaired multipliers of the range as well.
    """
    x, reward, gradient = now.x, now.reward, now.gradient
    leader: Tensor | float = 0.0
    if program.rho is not None:
        w = x.z[:, 0]
        weight = w * (program.rho / w.sum(-1)).unsqueeze(-1)
        best = reward.amax(-1, keepdim=True)
        leader = (weight * (best - reward)).sum((-2, -1))
        gradient = gradient + weight
    z_low, z_high = (x.z[:, -2], x.z[:, -1]) if program.boxed else (x.u, x.u)
    critic = program.optimality_gap(x.theta, reward, gradient, z_low, z_high)
    if repair and program.boxed:
        critic = critic.fmin(program.repaired_gap(x.theta, reward, gradient, z_low, z_high))
    return leader + critic


@dataclass
class Best:
    """The best certified iterate of every lane so far; `saved` is one to restart from."""

    x: Iterate
    gap: Tensor
    allowed: Tensor
    iterations: Tensor
    saved: Iterate

    @staticmethod
    def nothing(program: Program, now: Evaluated, tolerance: float) -> Best:
        """Before the first certificate."""
        gap = torch.full_like(program.lam, torch.inf)
        count = torch.zeros(len(gap), dtype=torch.int64)
        return Best(now.x, gap, program.allowed_gap(now.reward, tolerance), count, now.x)

    @property
    def converged(self) -> Tensor:
        """Whether the gap is within what was asked; a NaN is not."""
        return self.gap <= self.allowed

    def select(self, lanes: Tensor) -> Best:
        """The lanes alone."""
        parts = self.gap[lanes], self.allowed[lanes], self.iterations[lanes]
        return Best(self.x.select(lanes), *parts, self.saved.select(lanes))

    def write(self, lanes: Tensor, part: Best) -> None:
        """Put `part` in the place of the numbered lanes."""
        self.x = self.x.written(lanes, part.x)
        self.saved = self.saved.written(lanes, part.saved)
        for name in ("gap", "allowed", "iterations"):
            getattr(self, name)[lanes] = getattr(part, name)

    def improve(
        self, active: Tensor, x: Iterate, gap: Tensor, allowed: Tensor, iteration: int
    ) -> None:
        """Keep `x` for those of the lanes `active` whose gap is smaller than before."""
        better = gap < self.gap[active]
        if len(active) == len(self.gap) and bool(better.all()):
            self.x, self.gap, self.allowed = x, gap.clone(), allowed
            self.iterations.fill_(iteration)
        elif bool(better.any()):
            rows = active[better]
            self.gap[rows], self.allowed[rows] = gap[better], allowed[better]
            self.iterations[rows] = iteration
            self.x = self.x.written(rows, x.select(better))


def descend(
    program: Program,
    x: Iterate,
    tolerance: float,
    max_iterations: int,
    keep_warm: bool,
    careful: bool,
) -> Best:
    """Step until every lane is certified; what is returned is the best iterate, not the last."""
    step = careful_step if careful else plain_step
    active, part, now = torch.arange(len(program.linear)), program, Evaluated.at(program, x)
    best = Best.nothing(program, now, tolerance)
    for iteration in range(max_iterations + 1):
        gap = certified_gap(part, now, careful)
        best.improve(active, now.x, gap, part.allowed_gap(now.reward, tolerance), iteration)
        early = gap > WARM_LEVEL / tolerance * best.allowed[active]
        if keep_warm and bool(early.any()):
            best.saved = best.saved.written(active[early], now.x.select(early))
        going = (gap > best.allowed[active]) & (gap < torch.inf)  # a NaN goes nowhere
        if iteration == max_iterations or not bool(going.any()):
            break
        if not bool(going.all()):
            active, part, now = active[going], part.select(going), now.select(going)
        now = step(part, now)
    return best
