"""How to choose `λ`: fixed, growing like `√n`, the theorem's oracle choice, or from data alone.

The theorem wants `λ* ∝ √(C n)`: pessimism must weaken as data grow. `λ*` needs the concentrability
of the optimal policy and hence the true reward. Three rules need nothing but data:

- `held_out` keeps the `λ` whose critic predicts held-out preferences best;
- `certified` keeps the `λ` with the largest lower bound on the value of its own policy. By the
  lemma (H), `E_D(r*) ≤ E_D(r̂) + ε_n` with probability `1 − δ`, so
  `L(π̂_λ, r*) ≥ min_r G(π̂_λ, r) − λ (E_D(r̂) + ε_n)` for every `λ` at once;
- `wilks` does the same with Wilks' asymptotic radius for `ε_n`, and guarantees nothing at finite `n`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from scipy import stats
from torch import Tensor

from spac_theory import checks
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.bounds.upper import covering_complexity, oracle_lambda
from spac_theory.checks import InputError
from spac_theory.objective import tabular_preference_loss
from spac_theory.options import checked
from spac_theory.rewards.base import likeliest_member
from spac_theory.saddle.game import Game, Saddle
from spac_theory.saddle.solve import solve_saddle
from spac_theory.view import LearnerView, Oracle

GRID = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
FIRST = 2  # where in the grid the search of `certified` starts


@dataclass(frozen=True)
class Chosen:
    """A chosen `λ (S,)`, and the solved game or columns a rule has to show for it."""

    lam: Tensor
    saddle: Saddle | None = None
    extra: dict[str, Tensor] | None = None


def make_game(view: LearnerView, data: WinnerCounts, lam: Tensor) -> Game:
    """The game (3) a view and data define."""
    return Game(view.reward_class, data, lam, view.rho, view.baseline, view.link)


def fixed(view: LearnerView, data: WinnerCounts, scale: float, oracle: Oracle | None) -> Chosen:
    """`λ = scale`, whatever the data."""
    return Chosen(torch.full((len(data.n),), scale, dtype=torch.float64))


def sqrt_n(view: LearnerView, data: WinnerCounts, scale: float, oracle: Oracle | None) -> Chosen:
    """`λ = scale · √n`."""
    return Chosen(scale * data.n.to(torch.float64).sqrt())


def theorem(view: LearnerView, data: WinnerCounts, scale: float, oracle: Oracle | None) -> Chosen:
    """`λ = scale · λ*` with the theorem's `λ* = √(κ C(π*)/ε_n)`: an oracle choice."""
    if oracle is None:
        raise InputError("lam is 'oracle', which needs the concentrability of the optimal policy.")
    size = covering_complexity(view.reward_class, data.n, view.delta, view.link)
    bound = view.reward_class.difference_bound
    return Chosen(scale * oracle_lambda(bound, oracle.concentrability, size, view.link))


def _grid_saddles(view: LearnerView, data: WinnerCounts, multiples: Sequence[float]) -> Saddle:
    """Saddles at every multiple of `√n`, as one batch of `len(multiples) · S` games."""
    root = data.n.to(torch.float64).sqrt()
    lam = torch.cat([m * root for m in multiples])
    repeated = replace(data, wins=data.wins.repeat(len(multiples), 1, 1, 1))
    if view.baseline.ndim == 3:
        view = replace(view, baseline=view.baseline.repeat(len(multiples), 1, 1))
    return solve_saddle(make_game(view, repeated, lam))


def held_out(view: LearnerView, data: WinnerCounts, scale: float, oracle: Oracle | None) -> Chosen:
    """The multiple of `√n` whose critic has the smallest loss on a fifth of the data, held out."""
    train, validation = data.split(0.2, view.key)
    multiples = [scale * m for m in GRID]
    reward = _grid_saddles(view, train, multiples).reward
    fraction = validation.fraction.repeat(len(multiples), 1, 1, 1)
    loss = tabular_preference_loss(reward, fraction, view.link).reshape(len(multiples), -1)
    best = torch.tensor(multiples, dtype=torch.float64)[loss.argmin(0)]
    return Chosen(best * data.n.to(torch.float64).sqrt())


def loss_radius(view: LearnerView, data: WinnerCounts, kind: str) -> Tensor:
    """How far `E_D(r*)` may exceed the smallest loss: the theorem's `ε_n`, or Wilks' asymptotic."""
    if kind == "theorem":
        return covering_complexity(view.reward_class, data.n, view.delta, view.link).epsilon_n
    contexts, actions = view.reward_class.shape
    degrees = min(
        getattr(view.reward_class, "dimension", contexts * actions), contexts * (actions - 1)
    )
    quantile = float(stats.chi2.ppf(1 - view.delta, degrees))
    return quantile / (2 * data.n.to(torch.float64))


class _Search:
    """The grid of `certified`, solved only where the best may be.

    The value of the policy at `λ` is at most `max_π L(π, r) + λ (E_D(r) − level)` for every critic `r`:
    a line in `λ`. So a critic found at one multiple says which others cannot win.
    """

    def __init__(self, view: LearnerView, data: WinnerCounts, lam: Tensor, level: Tensor) -> None:
        self.view, self.data, self.lam, self.level = view, data, lam, level
        self.ceiling = torch.full_like(lam, math.inf)
        self.value = torch.full_like(level, -math.inf)
        self.best = torch.zeros(len(level), dtype=torch.int64)  # row of the winner in all saddles
        self.saddles: list[Saddle] = []
        self.used: list[Tensor] = []

    def run(self) -> Chosen:
        """Solve the multiple with the highest ceiling of every data set until none beats what is known."""
        lanes = torch.arange(len(self.level))
        place = torch.full_like(lanes, FIRST)
        while len(lanes):
            self._solve(lanes, place)
            highest, place = self.ceiling.max(0)
            lanes = (highest > self.value).nonzero().flatten()
            place = place[lanes]
        saddle = Saddle.joined(self.saddles).select(self.best)
        return Chosen(torch.cat(self.used)[self.best], saddle, {"pessimistic_value": self.value})

    def _solve(self, lanes: Tensor, place: Tensor) -> None:
        """One saddle of each of these data sets, at its place in the grid."""
        view, lam, level = self.view, self.lam[place, lanes], self.level[lanes]
        if view.baseline.ndim == 3:
            view = replace(view, baseline=view.baseline[lanes])
        game = make_game(view, replace(self.data, wins=self.data.wins[lanes]), lam)
        saddle = solve_saddle(game)
        relative = game.leader_value(saddle.reward, torch.zeros_like(lam))
        loss = torch.where(lam > 0, (saddle.certificate.upper - relative) / lam, level)
        line = relative + self.lam[:, lanes] * (loss - level)
        self.ceiling[:, lanes] = torch.minimum(self.ceiling[:, lanes], line)
        self.ceiling[place, lanes] = -math.inf
        lower = saddle.certificate.lower - lam * level
        better = lower > self.value[lanes]
        self.value[lanes[better]] = lower[better]
        before = sum(len(used) for used in self.used)
        self.best[lanes[better]] = before + better.nonzero().flatten()
        self.saddles.append(saddle)
        self.used.append(lam)


def certified(
    view: LearnerView,
    data: WinnerCounts,
    scale: float,
    oracle: Oracle | None,
    radius: str = "theorem",
) -> Chosen:
    """The multiple of `√n` with the largest certified pessimistic value of its own policy."""
    fit = likeliest_member(view.reward_class, data.fraction, view.link)
    level = fit.value + loss_radius(view, data, radius)
    multiples = torch.tensor([scale * m for m in GRID], dtype=torch.float64)
    lam = multiples[:, None] * data.n.to(torch.float64).sqrt()
    return _Search(view, data, lam, level).run()


def wilks(view: LearnerView, data: WinnerCounts, scale: float, oracle: Oracle | None) -> Chosen:
    """`certified` with the asymptotic radius `χ²_{d,1−δ}/(2n)` of Wilks (1938) for `ε_n`."""
    return certified(view, data, scale, oracle, radius="wilks")


Rule = Callable[[LearnerView, WinnerCounts, float, Oracle | None], Chosen]
RULES: dict[str, Rule] = {
    "fixed": fixed,
    "sqrt_n": sqrt_n,
    "oracle": theorem,
    "held_out": held_out,
    "certified": certified,
    "wilks": wilks,
}


RETIRED = {
    "certified_wilks": "it is called 'wilks' now: Wilks' radius is asymptotic and certifies nothing",
    "spac_certified": "that label stood for Wilks' radius; choose 'wilks', or 'certified' for the theorem's",
}


def lambda_rule_of(name: str, rule: Any) -> str:
    """The name of a rule; a retired one is refused with the one to use."""
    if isinstance(rule, str) and rule in RETIRED:
        raise InputError(f"{name} is {rule!r}; {RETIRED[rule]}.")
    return checks.choice(name, rule, RULES)


def rule_option() -> Any:
    """The option `lam` of an algorithm: one of `RULES`."""
    return checked("sqrt_n", f"rule for λ: {', '.join(RULES)}", lambda_rule_of)


def choose(
    rule: str, scale: float, view: LearnerView, data: WinnerCounts, oracle: Oracle | None
) -> Chosen:
    """Apply the rule `rule`; `scale > 0` multiplies what it would choose."""
    lambda_rule_of("lam", rule)
    return RULES[rule](view, data, checks.number("scale", scale, low=0), oracle)


def lambda_skip(rule: str, oracle: Oracle | None) -> str | None:
    """Why the rule for `λ` cannot be applied here, or None."""
    if rule == "oracle" and oracle is None:
        return "λ* needs the true reward, which is not known here"
    if rule == "oracle" and oracle is not None and math.isinf(oracle.concentrability):
        return "λ* is infinite: the data do not cover the optimal policy"
    if rule == "oracle" and oracle is not None and oracle.concentrability == 0:
        return "λ* is 0: the optimal policy is the baseline"
    return None
