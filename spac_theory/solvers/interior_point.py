"""A batched primal–dual interior-point method for the program of :mod:`spac_theory.solvers.program`.

Newton's method on the perturbed optimality conditions: every inequality `s ≥ 0` has a multiplier
`z ≥ 0` with `s z = τ`, and `τ → 0` along Mehrotra's predictor–corrector rule. The multipliers of
`u_x ≥ r(x,a)` are the policy, so the smoothing of the max and the class bound are one path.

Each lane stops on its own certified gap, never on a residual, and no lane sees another.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.solvers.descent import descend, policy_of
from spac_theory.solvers.design import CACHE, slices
from spac_theory.solvers.iterate import Iterate, start
from spac_theory.solvers.program import Program, rotated

CHUNK = 4 * CACHE  # pairs (x, a, b) at a time: more leave the cache, fewer are dear to start


@dataclass
class Solution:
    """What the solver returns for every lane.

    `gap` bounds the suboptimality of the pair of reward and policy for the program solved (theory
    (6) for the saddle); `warm` restarts a slightly changed program; `converged` says `gap ≤ tol`.
    """

    theta: Tensor
    reward: Tensor
    policy: Tensor | None
    gap: Tensor
    converged: Tensor
    iterations: Tensor
    warm: Iterate


def solve(
    program: Program,
    tolerance: float = 1e-8,
    max_iterations: int = 100,
    warm: Iterate | None = None,
    keep_warm: bool = False,
) -> Solution:
    """Solve every lane to a certified gap of `tolerance · max(1, |L|)`.

    A lane that does not get there in `max_iterations` is returned with the gap it reached and
    `converged = False`. Lanes are worked on as many at a time as the cache holds. With
    `keep_warm` the solution's `warm` is the last iterate far enough from the boundary to restart a
    slightly different program.
    """
    lanes, cells = len(program.lam), program.win_fraction[0].numel()
    parts = [
        _solve_chunk(
            program.select(chunk),
            tolerance,
            max_iterations,
            None if warm is None else warm.select(chunk),
            keep_warm,
        )
        for chunk in slices(lanes, cells, CHUNK)
    ]
    return parts[0] if len(parts) == 1 else _join(parts)


def _join(parts: list[Solution]) -> Solution:
    """The solutions of all chunks as one."""

    def cat(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in parts])

    warm = Iterate(parts[0].warm.layout, torch.cat([part.warm.flat for part in parts]))
    return Solution(
        cat("theta"),
        cat("reward"),
        None if parts[0].policy is None else cat("policy"),
        cat("gap"),
        cat("converged"),
        cat("iterations"),
        warm,
    )


def _solve_chunk(
    program: Program,
    tolerance: float,
    max_iterations: int,
    warm: Iterate | None,
    keep_warm: bool,
) -> Solution:
    """Plain steps first; lanes that these do not solve start afresh, rotated, with careful ones."""
    program = program.prepared()
    x = start(program) if warm is None else warm
    best = descend(program, x, tolerance, max_iterations, keep_warm, careful=False)
    stuck = ~best.converged
    if bool(stuck.any()) and max_iterations > 0:
        part, back = rotated(program.select(stuck))
        again = descend(part, start(part), tolerance, max_iterations, keep_warm, careful=True)
        again.x, again.saved = _rotated_back(again.x, back), _rotated_back(again.saved, back)
        better = again.gap < best.gap[stuck]
        best.write(stuck.nonzero().flatten()[better], again.select(better))
    theta, found = best.x.theta, (best.gap, best.converged, best.iterations)
    return Solution(theta, program.reward(theta), policy_of(program, best.x), *found, best.saved)


def _rotated_back(x: Iterate, back: Tensor | None) -> Iterate:
    """The iterate in the parameters of the program that was rotated."""
    if back is None:
        return x
    return x.turned(back)
