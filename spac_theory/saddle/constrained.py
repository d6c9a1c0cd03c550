"""The game without `λ`: the critic is any reward that fits almost as well as the best, theory (T2).

    max_π min_{r∈V} L(π, r),    V = {r ∈ 𝓡 : E_D(r) ≤ level},    level = E_D(r̂) + radius.

For a convex class the multiplier of the constraint is a `λ`: the saddle at that `λ` is the answer, so
the root of `E_D(r_λ) = level` is looked for, one batch of saddles a round. Both ends are certified
whatever the search did:

- from below, any `λ ≥ 0` and any policy: `min_{r∈V} L(π, r) ≥ min_{r∈𝓡} G_λ(π, r) − λ level`, and the
  baseline itself is worth 0;
- from above, any member of `V`: `max_π L(π, r)`. A chord from a reward outside `V` to one inside meets
  the level not before the weight that its two ends give, for `E_D` is convex. With ends `λ₁ < λ₂` at
  `d₁ > 0 ≥ d₂` above the level it loses at most `|d₂| (λ₂ − λ₁)`: second order in the search.

`r̂` is only known to a certified gap. The level is taken from the reward that was found, so that `V`
contains what it would with the exact `r̂`; what the gap adds to `V` is a term of (T2), `fit_gap`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.checks import InputError
from spac_theory.devices import beside
from spac_theory.links import Link
from spac_theory.objective import tabular_preference_loss
from spac_theory.rewards.base import BestResponse
from spac_theory.rewards.finite import FiniteClass
from spac_theory.rewards.linear import LinearClass
from spac_theory.saddle.game import Certificate, Game, Saddle
from spac_theory.saddle.solve import solve_saddle

FIT_SHARE = 1e-4  # the fit is exact to this share of the radius
FIRST_SHARE = 0.3  # of the largest multiplier there can be: where the search starts
BEYOND = 0.1  # how far beyond the root a step aims, as a share of what was left
FLATTEST, STEEPEST = 0.01, 8.0  # slopes of the secant; 2 where the loss is quadratic
PATIENCE = 2  # rounds that may fail to halve the bracket
LONGEST_STEP = 4.0  # of log λ in one round
MAX_ROUNDS = 40


@dataclass(frozen=True)
class ConstrainedSaddle:
    """A solved game over `V`.

    Attributes
    ----------
    saddle : policy and reward `(S, X, A)`; its certificate bounds `max_π min_{r∈V} L`
    lam : (S,) the multiplier of the constraint; NaN for a finite class, which has none
    level : (S,) what `E_D` may be at most in `V`
    fit_gap : (S,) how far the level may lie above `min_𝓡 E_D + radius`
    rounds : (S,) saddles solved
    """

    saddle: Saddle
    lam: Tensor
    level: Tensor
    fit_gap: Tensor
    rounds: Tensor


def best_fit(game: Game, radius: Tensor) -> BestResponse:
    """`r̂`, its loss and the certified gap of that, at most `FIT_SHARE` of each radius."""
    seeds = len(radius)
    nothing = torch.zeros(seeds, *game.reward_class.shape, dtype=torch.float64)
    fraction = game.data.fraction
    fit = game.reward_class.best_response(nothing, 1 / radius, fraction, game.link, FIT_SHARE)
    return replace(fit, value=fit.value * radius, gap=fit.gap * radius)


@beside(lambda game, *rest, **options: game.lam)
def constrained_saddle(game: Game, radius: Tensor, tolerance: float = 1e-8) -> ConstrainedSaddle:
    """Solve `max_π min_{r∈V} L` to a certified gap of `tolerance · max(1, |L|)`.

    `radius (S,)`, positive, is how far `E_D` may exceed its minimum in `V`; the `λ` of `game` plays no
    part. Raises InputError for other classes than finite and bounded linear ones, kernels included.
    """
    radius = checks.as_tensor("radius", radius, (len(game.lam),))
    if not bool((radius > 0).all()):
        raise InputError(f"radius is {float(radius.min()):g}; it must be a number in (0, inf).")
    if isinstance(game.reward_class, FiniteClass):
        return _finite(game, game.reward_class, radius, tolerance)
    if isinstance(game.reward_class, LinearClass):
        return _Search(game, game.reward_class, radius, tolerance).run()
    raise InputError(
        f"reward_class is a {type(game.reward_class).__name__}; "
        "the constraint form needs a finite class or a bounded linear one."
    )


# --- finite classes -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Barred(FiniteClass):
    """A finite class in which, on every data set, members that fit worse than its level cost `price`.

    With a price above `2R` they are never the minimum over the class, so the game at `λ = 1` is the
    game over the members in `V`.
    """

    level: Tensor
    price: float

    def losses(self, win_fraction: Tensor, link: Link) -> Tensor:
        """0 for members in `V`, the price for the others, `(S, F)`."""
        return self.price * (super().losses(win_fraction, link) > self.level[:, None]).double()


def _finite(game: Game, cls: FiniteClass, radius: Tensor, tolerance: float) -> ConstrainedSaddle:
    """The linear program over the members in `V`; the fit is exact."""
    level = cls.losses(game.data.fraction, game.link).amin(-1) + radius
    barred = _Barred(cls.members, level, 1.0 + 2 * cls.difference_bound)
    saddle = solve_saddle(replace(game, reward_class=barred, lam=torch.ones_like(level)), tolerance)
    nothing = torch.zeros_like(level)
    return ConstrainedSaddle(saddle, nothing * torch.nan, level, nothing, nothing + 1)


# --- convex classes -------------------------------------------------------------------------------


@dataclass
class _End:
    """One end of the bracket: `λ`, `E_D(r_λ) − level`, `max_π L(π, r_λ)`, each `(S,)`, and `θ`."""

    lam: Tensor
    above: Tensor
    value: Tensor
    theta: Tensor

    def write(self, lanes: Tensor, other: _End, rows: Tensor) -> None:
        """Take over `rows` of the other at `lanes`."""
        for name, ours in vars(self).items():
            ours[lanes] = getattr(other, name)[rows]


class _Search:
    """A safeguarded search for the root of `log (E_D(r_λ) − E_D(r̂)) = log radius` in `log λ`.

    The excess falls like `λ⁻²` where `E_D` is quadratic, so the secant on logarithms needs few
    rounds. It aims a little beyond the root, so that both ends of the bracket close in.
    """

    def __init__(self, game: Game, cls: LinearClass, radius: Tensor, tolerance: float) -> None:
        self.game, self.cls, self.radius, self.tolerance = game, cls, radius, tolerance
        fit = best_fit(game, radius)
        self.level, self.fit_gap = fit.value + radius, fit.gap
        seeds = len(radius)
        everyone = torch.arange(seeds)
        flat = cls.interior.expand(seeds, -1).clone()
        zero = torch.zeros_like(radius)
        self.outer = self._end(everyone, zero, flat)
        self.inner = self._end(everyone, zero, fit.parameters)
        # λ radius ≤ max_π L(π, r̂) − value of the game, and the game is worth at least 0.
        self.largest = self.inner.lam = self.inner.value / radius
        nu = game.baseline if game.baseline.ndim == 3 else game.baseline.expand(seeds, -1, -1)
        self.policy, self.lam, self.lower = nu.clone(), zero.clone(), zero.clone()
        flat_fits = self.outer.above <= 0
        self.theta = torch.where(flat_fits[:, None], flat, fit.parameters)
        self.upper = torch.where(flat_fits, self.outer.value, self.inner.value)
        self.rounds = zero.clone()
        # the last point of the search: log λ, log(excess / radius) and the slope between
        self.at, self.rest = self.largest.log(), torch.full_like(zero, -torch.inf)
        self.slope = torch.full_like(zero, -2.0)
        self.width, self.stalled = torch.full_like(zero, torch.inf), zero.clone()

    def _end(self, lanes: Tensor, lam: Tensor, theta: Tensor) -> _End:
        """The end that the critic `φθ` makes on `lanes`."""
        reward = self.cls.design.forward(theta)
        above = tabular_preference_loss(reward, self.game.data.fraction[lanes], self.game.link)
        weights = self._baseline(lanes)
        relative = reward.max(-1).values - (weights * reward).sum(-1)
        value = (self.game.rho * relative).sum(-1)
        return _End(lam, above - self.level[lanes], value, theta.clone())

    def _baseline(self, lanes: Tensor) -> Tensor:
        nu = self.game.baseline
        return nu[lanes] if nu.ndim == 3 else nu

    def run(self) -> ConstrainedSaddle:
        """Close the bracket of every lane, at most `MAX_ROUNDS` times."""
        for _ in range(MAX_ROUNDS):
            lanes = self._going().nonzero()[:, 0]
            if not len(lanes):
                break
            self._round(lanes)
        reward = self.cls.design.forward(self.theta)
        certificate = Certificate(self.lower, self.upper)
        saddle = Saddle(self.policy, reward, certificate, ~self._going(), parameters=self.theta)
        return ConstrainedSaddle(saddle, self.lam, self.level, self.fit_gap, self.rounds)

    def _going(self) -> Tensor:
        return ~(self.upper - self.lower <= self.tolerance * self.upper.clamp_min(1))

    def _round(self, lanes: Tensor) -> None:
        """Solve one saddle on each lane and take what it says."""
        lam = self._next(lanes)
        game = replace(
            self.game,
            data=WinnerCounts(self.game.data.wins[lanes]),
            lam=lam,
            baseline=self._baseline(lanes),
        )
        saddle = solve_saddle(game, self.tolerance / 4)
        found = self._end(lanes, lam, saddle.parameters)
        self._remember(lanes, found)
        lower = saddle.certificate.lower - lam * self.level[lanes]
        better = lower > self.lower[lanes]
        rows = lanes[better]
        self.lower[rows], self.lam[rows] = lower[better], lam[better]
        self.policy[rows] = saddle.policy[better]
        outside = found.above > 0
        self.outer.write(lanes[outside], found, outside)
        self.inner.write(lanes[~outside], found, ~outside)
        self._meet(lanes)
        self.rounds[lanes] += 1

    def _meet(self, lanes: Tensor) -> None:
        """The member of `V` on the chord between both ends, if it is the best so far.

        What rounding leaves of it above the level is paid for at the largest multiplier.
        """
        outer, inner = self.outer, self.inner
        crossing = outer.above[lanes] > 0
        width = (outer.above - inner.above)[lanes].clamp_min(1e-300)
        share = torch.where(crossing, -inner.above[lanes] / width, 1.0)[:, None]
        theta = (1 - share) * inner.theta[lanes] + share * outer.theta[lanes]
        point = self._end(lanes, outer.lam[lanes], theta)
        value = point.value + self.largest[lanes] * point.above.clamp_min(0)
        better = value < self.upper[lanes]
        self.upper[lanes[better]], self.theta[lanes[better]] = value[better], theta[better]

    def _remember(self, lanes: Tensor, found: _End) -> None:
        """Slope of the search between its last two points, and the new point."""
        excess = found.above / self.radius[lanes] + 1
        at, rest = found.lam.log(), excess.clamp_min(1e-12).log()
        slope = (rest - self.rest[lanes]) / (at - self.at[lanes])
        usable = torch.isfinite(slope)
        self.slope[lanes] = torch.where(
            usable, slope.clamp(-STEEPEST, -FLATTEST), self.slope[lanes]
        )
        self.at[lanes], self.rest[lanes] = at, rest

    def _next(self, lanes: Tensor) -> Tensor:
        """The next `λ`: a secant step a little beyond the root.

        Where that leaves the bracket, or the bracket has twice not been halved, the middle of it.
        """
        rest = self.rest[lanes]
        beyond = -rest * rest.abs().clamp_max(BEYOND)
        step = ((beyond - rest) / self.slope[lanes]).clamp(-LONGEST_STEP, LONGEST_STEP)
        first = self.at[lanes] + math.log(FIRST_SHARE)
        at = torch.where(torch.isinf(rest), first, self.at[lanes] + step)
        low, high = self.outer.lam[lanes].log(), self.inner.lam[lanes].log()
        width = high - low
        slow = torch.isinf(width) | (width > self.width[lanes] / 2)
        stalled = torch.where(slow, self.stalled[lanes] + 1, 0.0)
        trusted = (at > low) & (at < high) & (stalled <= PATIENCE)
        self.width[lanes], self.stalled[lanes] = width, torch.where(trusted, stalled, 0.0)
        middle = torch.where(torch.isinf(low), high - LONGEST_STEP, (low + high) / 2)
        return torch.where(trusted, at, middle).exp()
