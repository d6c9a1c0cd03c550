"""The game (3), its certificate (6), and the solved saddle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.checks import InputError
from spac_theory.devices import beside
from spac_theory.links import BRADLEY_TERRY, Link
from spac_theory.objective import tabular_game, tabular_preference_loss
from spac_theory.rewards.base import BestResponse, RewardClass, shape_of

LARGEST_LAMBDA = 1e8


@dataclass(frozen=True)
class Game:
    """`max_π min_{r∈𝓡} L(π, r) + λ E_D(r)` for `S` data sets at once, theory (3).

    Attributes
    ----------
    reward_class : the class `𝓡`
    data : winner counts, `(S, X, A, A)`
    lam : (S,) tensor or a number; `0 ≤ λ ≤ LARGEST_LAMBDA`
    rho : (X,) context weights of `L`, the true law or the prompts of the data
    baseline : (X, A) `ν`, or (S, X, A) where each data set has its own
    """

    reward_class: RewardClass
    data: WinnerCounts
    lam: Tensor
    rho: Tensor
    baseline: Tensor
    link: Link = BRADLEY_TERRY

    def __post_init__(self) -> None:
        contexts, actions = shape_of(self.reward_class)
        if not isinstance(self.data, WinnerCounts):
            raise InputError(f"data is {checks.shown(self.data)}; it must be WinnerCounts.")
        seeds = self.data.wins.shape[0]
        if self.data.wins.shape[1:3] != (contexts, actions):
            raise InputError(
                f"data has (X, A) = {tuple(self.data.wins.shape[1:3])}, but the reward class has "
                f"{(contexts, actions)}; they must agree."
            )
        lam = checks.lanes("lam", self.lam, seeds).clone()
        outside = (lam < 0) | (lam > LARGEST_LAMBDA)
        if outside.any():
            raise InputError(
                f"lam is {float(lam[outside][0]):g}; λ must be a number in [0, {LARGEST_LAMBDA:g}] "
                "(above, rounding of λ E_D hides the value of a policy)."
            )
        rho = checks.as_tensor("rho", self.rho, (contexts,))
        lanes = (seeds,) * (getattr(self.baseline, "ndim", 2) - 2)
        baseline = checks.as_tensor("baseline", self.baseline, (*lanes, contexts, actions))
        checks.simplex("rho", rho)
        checks.simplex("baseline", baseline)
        for field, value in (("lam", lam), ("rho", rho), ("baseline", baseline)):
            object.__setattr__(self, field, value)

    def value(self, policy: Tensor, reward: Tensor) -> Tensor:
        """`G(π, r)`, `(S,)`."""
        fraction = self.data.fraction
        return tabular_game(reward, policy, self.baseline, self.rho, fraction, self.lam, self.link)

    def leader_value(self, reward: Tensor, loss: Tensor | None = None) -> Tensor:
        """`max_π G(π, r) = E_x[max_a r(x,a)] − r(ρ,ν) + λ E_D(r)`, `(S,)`.

        For a mixture of critics pass its average reward and its average loss `(S,)`.
        """
        relative = reward.max(-1).values - (self.baseline * reward).sum(-1)
        if loss is None:
            loss = tabular_preference_loss(reward, self.data.fraction, self.link)
        return (self.rho * relative).sum(-1) + self.lam * loss

    @beside(lambda game, *rest, **options: game.lam)
    def best_response(
        self, policy: Tensor, tolerance: float = 1e-9, warm: object = None
    ) -> BestResponse:
        """The critic (4): `argmin_r G(π, r)`; its value includes the baseline term."""
        linear = self.rho.unsqueeze(-1) * (policy - self.baseline)
        linear = linear.expand(len(self.lam), -1, -1)
        return self.reward_class.best_response(
            linear, self.lam, self.data.fraction, self.link, tolerance, warm
        )


@dataclass(frozen=True)
class Certificate:
    """Bounds on the value of the game from any pair: `lower ≤ max_π min_r G ≤ upper`, each `(S,)`.

    `upper − lower` is the gap (6) of the pair, or a rigorous upper bound on it.
    """

    lower: Tensor
    upper: Tensor

    def __post_init__(self) -> None:
        checks.is_number("certificate.lower", self.lower)
        checks.is_number("certificate.upper", self.upper)

    @property
    def gap(self) -> Tensor:
        """`upper − lower ≥ 0`, up to rounding."""
        return self.upper - self.lower


@dataclass(frozen=True)
class Saddle:
    """A solved game.

    Attributes
    ----------
    policy, reward : (S, X, A)
        The pair; over a finite class `reward` is the average reward of the critic's mixture.
    certificate : bounds on the value of the game, an estimate where `kind` says so
    converged : (S,) bool, whether the gap is within the tolerance asked for
    kind : "duality gap" or "estimate" (a critic that is not certified)
    parameters : what the class needs to give `reward` elsewhere: `θ`, a mixture, weights; or None
    spread : (S,) or None
        How far apart the starts of an estimated critic ended.
    """

    policy: Tensor
    reward: Tensor
    certificate: Certificate
    converged: Tensor
    kind: str = "duality gap"
    parameters: Any = None
    spread: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("policy", "reward", "spread"):
            checks.is_number(f"saddle.{name}", getattr(self, name))

    @staticmethod
    def joined(parts: Sequence[Saddle]) -> Saddle:
        """Saddles of several batches over one class as one batch."""

        def cat(values: list[Any]) -> Any:
            if isinstance(values[0], list):
                return [torch.cat(each) for each in zip(*values, strict=True)]
            return None if values[0] is None else torch.cat(values)

        found = {f.name: [getattr(part, f.name) for part in parts] for f in fields(Saddle)}
        bounds = found.pop("certificate"), found.pop("kind")
        lower, upper = (cat([getattr(c, end) for c in bounds[0]]) for end in ("lower", "upper"))
        rest = {name: cat(values) for name, values in found.items()}
        return Saddle(certificate=Certificate(lower, upper), kind=bounds[1][0], **rest)

    def select(self, lanes: Tensor) -> Saddle:
        """The games `lanes` alone."""
        bounds = Certificate(self.certificate.lower[lanes], self.certificate.upper[lanes])
        several = isinstance(self.parameters, list)
        parts = self.parameters if several else [self.parameters]
        chosen = [None if part is None else part[lanes] for part in parts]
        return replace(
            self,
            policy=self.policy[lanes],
            reward=self.reward[lanes],
            certificate=bounds,
            converged=self.converged[lanes],
            parameters=chosen if several else chosen[0],
            spread=None if self.spread is None else self.spread[lanes],
        )


@beside(lambda game, *rest, **options: game.lam)
def certify(
    game: Game,
    policy: Tensor,
    reward: Tensor,
    tolerance: float = 1e-9,
    loss: Tensor | None = None,
) -> Certificate:
    """The certificate (6) of a policy and a critic, both `(S, X, A)`.

    `max_π′ G(π′, r)` is closed form; `min_r′ G(π, r′)` is one best response, of which the certified
    lower bound is used. Over a convex class the critic is a member `r`. Over any other class it is
    a mixture: `reward` is its average reward and `loss (S,)` its average `E_D` (the `E_D` of the
    averaged reward would be too small, and the "gap" could be negative).
    """
    checks.simplex("policy", policy)
    if loss is None and not game.reward_class.convex:
        raise InputError("loss is None; a class that is not convex is certified with a mixture.")
    response = game.best_response(policy, tolerance)
    return Certificate(response.value - response.gap, game.leader_value(reward, loss))
