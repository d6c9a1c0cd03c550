"""The exact game over a finite class, solved for a batch of data sets by an interior-point method.

    min over q in the simplex, u    ρ·u + g·q    subject to   u_x ≥ Σ_f q_f r_f(x, a),

with `g_f = λ E_D(r_f) − E r_f(x, ν)`: the linear program of
:mod:`spac_theory.saddle.reference.linear_program` seen from the critic. The multipliers of the
inequalities are `ρ(x) π(a|x)`. Every iterate is feasible on both sides, so the certificate (6) of the
current policy and mixture is one matrix product; a lane stops on it and on nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spac_theory.rewards.finite import FiniteClass
from spac_theory.saddle.game import Certificate, Game, Saddle, certify
from spac_theory.solvers.design import cholesky
from spac_theory.solvers.program import SMALLEST_CONTEXT_WEIGHT

STEP_TO_BOUNDARY = 0.995
MOST_STEPS = 60
CENTRED = 0.01  # least share of the residual that a step keeps as complementarity


@dataclass
class _Point:
    """Mixture `q (S, F)`, epigraph `u (S, X)`, policy weights `w (S, X, A)`, slacks and multipliers."""

    q: Tensor
    u: Tensor
    w: Tensor
    s: Tensor  # (S, X, A) slack u − Σ q r
    z: Tensor  # (S, F) multiplier of q ≥ 0: G(π, r_f) − y
    y: Tensor  # (S,) multiplier of Σ q = 1

    def parts(self) -> tuple[Tensor, ...]:
        """All tensors, in order."""
        return self.q, self.u, self.w, self.s, self.z, self.y

    def moved(self, step: _Point, alpha: Tensor) -> _Point:
        """`point + α step`, `α (S,)`."""
        pairs = zip(self.parts(), step.parts(), strict=True)
        return _Point(*(a + alpha.reshape(-1, *[1] * (a.ndim - 1)) * b for a, b in pairs))

    def select(self, lanes: Tensor) -> _Point:
        """The lanes alone."""
        return _Point(*(part[lanes] for part in self.parts()))


@dataclass(frozen=True)
class _Lanes:
    """The data of the linear programs: rewards `(X, A, F)`, weights `(X,)`, costs `g (S, F)`."""

    rewards: Tensor
    rho: Tensor
    cost: Tensor

    def start(self) -> _Point:
        """A strictly feasible point."""
        lanes, members = self.cost.shape
        contexts, actions, _ = self.rewards.shape
        q = torch.full((lanes, members), 1 / members, dtype=torch.float64)
        average = self.rewards.mean(-1).expand(lanes, -1, -1)
        u = average.amax(-1) + 0.1 + 0.1 * (average.amax(-1) - average.amin(-1))
        w = (self.rho[:, None] / actions).expand(lanes, contexts, actions).clone()
        values = self.values(w)
        spread = values.amax(-1) - values.amin(-1)
        y = values.amin(-1) - 0.1 - 0.1 * spread
        return _Point(q, u, w, u.unsqueeze(-1) - average, values - y.unsqueeze(-1), y)

    def values(self, w: Tensor) -> Tensor:
        """`G(π, r_f)` of every member for `w = ρπ`, `(S, F)`."""
        return self.cost + torch.einsum("sxa,xaf->sf", w, self.rewards)

    def ends(self, x: _Point) -> tuple[Tensor, Tensor]:
        """The certificate (6) of the normalised pair: `min_f G(π, r_f)` and `max_π′ Σ q G`, `(S,)`."""
        w = self.rho[:, None] * x.w / x.w.sum(-1, keepdim=True)
        q = x.q / x.q.sum(-1, keepdim=True)
        best = torch.einsum("sf,xaf->sxa", q, self.rewards).amax(-1)
        upper = (self.rho * best).sum(-1) + (self.cost * q).sum(-1)
        return self.values(w).amin(-1), upper

    def select(self, lanes: Tensor) -> _Lanes:
        """The lanes alone."""
        return _Lanes(self.rewards, self.rho, self.cost[lanes])


def _complementarity(x: _Point) -> Tensor:
    """Mean of `s w` and `z q` over the constraints, `(S,)`."""
    total = (x.s * x.w).sum((-2, -1)) + (x.z * x.q).sum(-1)
    return total / (x.s[0].numel() + x.q.shape[-1])


class _Newton:
    """One factorisation of the reduced system in `q`, used for predictor and corrector."""

    def __init__(self, lanes: _Lanes, x: _Point) -> None:
        self.lanes, self.x = lanes, x
        # Rounding leaves a residual in z = G(π, r_f) − y that would stay for ever: steps take it out.
        self.residual = lanes.values(x.w) - x.y.unsqueeze(-1) - x.z
        self.d = x.w / x.s
        self.delta = self.d.sum(-1)
        share = self.d / self.delta.unsqueeze(-1)
        mean = torch.einsum("sxa,xaf->sxf", share, lanes.rewards)
        centred = lanes.rewards - mean.unsqueeze(-2)  # (S, X, A, F)
        rows = (self.d.sqrt().unsqueeze(-1) * centred).flatten(1, 2)
        matrix = torch.bmm(rows.transpose(1, 2), rows)
        matrix.diagonal(dim1=-2, dim2=-1).add_(x.z / x.q)
        self.factor = cholesky(matrix)
        self.ones = self.factor.solve(torch.ones_like(x.q))

    def direction(self, tau: Tensor, affine: _Point | None = None) -> _Point:
        """The Newton step towards complementarity products `τ`."""
        x, rewards = self.x, self.lanes.rewards
        level_w, level_z = tau[:, None, None], tau[:, None]
        if affine is not None:
            level_w, level_z = level_w - affine.s * affine.w, level_z - affine.z * affine.q
        k_w, k_z = level_w / x.s - x.w, level_z / x.q - x.z
        missing = self.lanes.rho - (x.w + k_w).sum(-1)
        row = k_w + self.d * (missing / self.delta).unsqueeze(-1)
        rhs = k_z - self.residual - torch.einsum("sxa,xaf->sf", row, rewards)
        q = self.factor.solve(rhs)
        y = (1 - x.q.sum(-1) - q.sum(-1)) / self.ones.sum(-1)
        q = q + y.unsqueeze(-1) * self.ones
        r = torch.einsum("sf,xaf->sxa", q, rewards)
        u = ((self.d * r).sum(-1) - missing) / self.delta
        s = u.unsqueeze(-1) - r
        return _Point(q, u, k_w - self.d * s, s, k_z - x.z / x.q * q, y)


def _longest(x: _Point, d: _Point) -> Tensor:
    """Largest step in `(0, ∞]` that keeps slacks and multipliers non-negative, `(S,)`."""
    pairs = ((x.q, d.q), (x.z, d.z), (x.s, d.s), (x.w, d.w))
    limits = [torch.where(b < 0, -a / b, torch.inf).flatten(1).amin(-1) for a, b in pairs]
    return torch.stack(limits).amin(0)


def _step(lanes: _Lanes, x: _Point) -> _Point:
    """One predictor–corrector step (Mehrotra, 1992)."""
    now = _complementarity(x)
    newton = _Newton(lanes, x)
    affine = newton.direction(torch.zeros_like(now))
    ahead = _complementarity(x.moved(affine, _longest(x, affine).clamp_max(1)))
    sigma = (ahead / now).clamp(1e-6, 1) ** 3
    lost = newton.residual.abs().sum(-1) / (x.s[0].numel() + x.q.shape[-1])
    d = newton.direction(torch.maximum(sigma * now, CENTRED * lost), affine)
    return x.moved(d, (STEP_TO_BOUNDARY * _longest(x, d)).clamp_max(1))


def mixture_certificate(game: Game, policy: Tensor, mixture: Tensor) -> Certificate:
    """Theory (6) for a finite class: `max_π′ Σ_f q_f G(π′, r_f)` and `min_f G(π, r_f)`."""
    cls = game.reward_class
    assert isinstance(cls, FiniteClass)
    losses = cls.losses(game.data.fraction, game.link)
    return certify(game, policy, cls.average(mixture), loss=(mixture * losses).sum(-1))


def simplex_saddle(game: Game, tolerance: float = 1e-8) -> Saddle:
    """Solve the game of every data set to a certified gap of `tolerance · max(1, |G − λ min E_D|)`.

    The large part of `G` at large `n`, `λ` times the smallest loss, is a constant of the data and is
    taken out, so that the tolerance stays one of value. A lane that does not get there is returned
    with the best gap it reached and `converged = False`: at 1e-8 a few of a thousand degenerate games
    (ties, a value near 0) stop at up to 1e-7, where rounding ends the descent.
    """
    cls = game.reward_class
    assert isinstance(cls, FiniteClass), "simplex_saddle needs a finite class"
    baseline = torch.einsum("x,...xa,fxa->...f", game.rho, game.baseline, cls.members)
    losses = cls.losses(game.data.fraction, game.link)
    cost = game.lam[:, None] * (losses - losses.amin(-1, keepdim=True)) - baseline
    rho = game.rho.clamp_min(SMALLEST_CONTEXT_WEIGHT)
    problem = _Lanes(cls.members.permute(1, 2, 0).contiguous(), rho, cost)
    w, q, converged = _descend(problem, tolerance)
    policy = w / w.sum(-1, keepdim=True)
    policy = torch.where(game.rho[:, None] > 0, policy, 1 / policy.shape[-1])
    mixture = q / q.sum(-1, keepdim=True)
    certificate = mixture_certificate(game, policy, mixture)
    return Saddle(policy, cls.average(mixture), certificate, converged, parameters=mixture)


def _descend(lanes: _Lanes, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
    """The best policy weights and the best mixture of every lane, and whether their gap is met.

    Each end of the certificate speaks of one player alone, so the two need not be of one iterate.
    """
    x, active, part = lanes.start(), torch.arange(len(lanes.cost)), lanes
    low = torch.full((len(lanes.cost),), -torch.inf, dtype=torch.float64)
    high, w, q = -low, x.w.clone(), x.q.clone()
    for iteration in range(MOST_STEPS + 1):
        lower, upper = part.ends(x)
        rises, falls = lower > low[active], upper < high[active]
        low[active[rises]], w[active[rises]] = lower[rises], x.w[rises]
        high[active[falls]], q[active[falls]] = upper[falls], x.q[falls]
        done = high - low <= tolerance * high.abs().clamp_min(1)
        going = ~done[active] & torch.isfinite(upper - lower)
        if iteration == MOST_STEPS or not bool(going.any()):
            break
        if not bool(going.all()):
            active, x, part = active[going], x.select(going), part.select(going)
        x = _step(part, x)
    return w, q, done
