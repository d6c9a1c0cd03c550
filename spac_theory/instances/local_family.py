"""A family of instances on which the rate of (T1) is the truth: gaps of order `√(C/n)`.

At each of `X` contexts the data nearly always compare action 0 (reward 0) with action 2 (reward −½);
action 1 is rare, worth `+g` or `−g`, and the class holds every pattern of signs, and a few rewards
that make action 2 look good. The truth is `+g` everywhere. With `g = c √(C/n)` no sample size
makes the signs easy, as in minimax lower bounds; with a fixed `g` the signs become obvious and the
error falls faster than any power of `n`.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.bandit.preferences import PreferenceModel, WinnerCounts, pair_law, winner_law
from spac_theory.bounds.lower import local_lower_bound
from spac_theory.bounds.upper import finite_complexity, oracle_lambda
from spac_theory.concentrability.classes import Coefficient, Design, concentrability_of
from spac_theory.keys import generator
from spac_theory.rewards.finite import FiniteClass
from spac_theory.saddle.game import Game, Saddle
from spac_theory.saddle.solve import solve_saddle

LOSS = 0.5
SHARE_OF_BAD = 0.1


@dataclass(frozen=True)
class LocalInstance:
    """One member of the family.

    Attributes
    ----------
    coverage : `p`, the probability of action 1 under the behaviour, in (0, 0.9)
    gap : `g > 0`
    contexts : `X ≥ 1`; the class has `2^X + 2` members
    truth : index of the true member; 0 is `+g` everywhere, `2^X − 1` is `−g` everywhere
    """

    coverage: float
    gap: float
    contexts: int = 4
    truth: int = 0

    def __post_init__(self) -> None:
        checks.number("coverage", self.coverage, low=0, high=0.9, open_low=True, open_high=True)
        checks.number("gap", self.gap, low=0, high=LOSS, open_low=True)
        checks.integer("contexts", self.contexts, low=1, high=8)

    @property
    def reward_class(self) -> FiniteClass:
        """Every pattern of signs, then two rewards in which action 2 is good."""
        signs = torch.tensor(list(itertools.product((1.0, -1.0), repeat=self.contexts)))
        rare = self.gap * signs.to(torch.float64)
        zero, bad = torch.zeros_like(rare), torch.full_like(rare, -LOSS)
        patterns = torch.stack([zero, rare, bad], -1)
        tempting = torch.stack([patterns[0], patterns[-1]])
        tempting[..., 2] = LOSS
        return FiniteClass(torch.cat([patterns, tempting]))

    @property
    def reward(self) -> Tensor:
        """`r*`, `(X, 3)`."""
        return self.reward_class.members[self.truth]

    @property
    def rho(self) -> Tensor:
        """Uniform over contexts."""
        return torch.full((self.contexts,), 1 / self.contexts, dtype=torch.float64)

    @property
    def behaviour(self) -> Tensor:
        """`μ = ν`, `(X, 3)`."""
        row = [1 - SHARE_OF_BAD - self.coverage, self.coverage, SHARE_OF_BAD]
        return torch.tensor([row] * self.contexts, dtype=torch.float64)

    @property
    def optimal_policy(self) -> Tensor:
        """A best action everywhere, `(X, 3)`."""
        return torch.nn.functional.one_hot(self.reward.argmax(-1), 3).to(torch.float64)

    @property
    def design(self) -> Design:
        """What (8) needs."""
        return Design(self.reward, self.rho, pair_law(self.behaviour), self.behaviour)

    @property
    def concentrability(self) -> Coefficient:
        """`C(π*)`, enumerated; `(1 − p)/(2p)` up to what the comparisons with action 2 add."""
        return concentrability_of(self.reward_class, self.design, self.optimal_policy)

    def data(self, n: int, seeds: int, *key: str | int) -> WinnerCounts:
        """`seeds` independent data sets of `n` comparisons; more seeds leave the first ones alone."""
        model = PreferenceModel.from_reward(self.reward)
        law = winner_law(self.rho, pair_law(self.behaviour), model)
        cells = law.flatten().numpy(force=True)
        name = f"{self.coverage:.12g}-{self.gap:.12g}-{self.contexts}-{self.truth}"
        draws = generator("local", name, n, *key).multinomial(n, cells / cells.sum(), size=seeds)
        return WinnerCounts(torch.as_tensor(draws).reshape(seeds, *law.shape))

    def game(self, data: WinnerCounts, lam: Tensor) -> Game:
        """The game on this instance."""
        return Game(self.reward_class, data, lam, self.rho, self.behaviour)

    def oracle_lambda(self, n: Tensor, delta: float) -> Tensor:
        """The theorem's `λ*`, `(S,)`."""
        cls = self.reward_class
        size = finite_complexity(len(cls.members), n, delta)
        return oracle_lambda(cls.difference_bound, self.concentrability.value, size)

    def suboptimality(self, policy: Tensor) -> Tensor:
        """`J(π*) − J(π)`, `(S, X, 3) -> (S,)`."""
        gaps = self.reward.amax(-1, keepdim=True) - self.reward
        return (self.rho[:, None] * policy * gaps).sum((-2, -1))

    def solve(self, n: int, seeds: int, lam: Tensor, *key: str | int) -> tuple[Saddle, Tensor]:
        """SPAC at `λ (S,)` on fresh data: the saddle and its suboptimality `(S,)`."""
        saddle = solve_saddle(self.game(self.data(n, seeds, *key), lam))
        return saddle, self.suboptimality(saddle.policy)

    def rival(self, n: int) -> tuple[float, LocalInstance]:
        """The two-point lower bound maximised over the class at `n`, and the rival it speaks of."""
        cls, pairs, size = self.reward_class, pair_law(self.behaviour), torch.tensor([n])
        found = local_lower_bound(cls, self.rho, self.reward, pairs, size)
        same = (cls.members == found.rival[0]).all(-1).all(-1)
        return float(found.value), replace(self, truth=int(same.nonzero()[0]))


def local_instance(coverage: float, n: int, scale: float, contexts: int = 4) -> LocalInstance:
    """The instance whose gap is `scale · √(C/n)`, `C = (1 − p)/(2p)`."""
    gap = scale * math.sqrt((1 - coverage) / (2 * coverage) / n)
    return LocalInstance(coverage, gap, contexts)
