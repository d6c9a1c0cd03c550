"""A finite class of rewards, enumerated: the class of the theorem in its plainest form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.checks import InputError
from spac_theory.links import Link
from spac_theory.objective import tabular_margins
from spac_theory.rewards.base import BestResponse


@dataclass(frozen=True)
class FiniteClass:
    """`𝓡 = {r_1, …, r_F}`, `members (F, X, A)`. Not convex: certify with a mixture, theory (6).

    A member is a table: it has no reward at a context that is not one of its `X`, so the class cannot be used
    with contexts from a density.
    """

    members: Tensor

    convex = False
    finite = True
    gap_is_bound = True

    def __post_init__(self) -> None:
        members = checks.as_tensor("members", self.members, (None, None, None))
        if len(members) == 0:
            raise InputError("members is empty; a finite class needs at least one reward.")
        object.__setattr__(self, "members", members)

    @property
    def shape(self) -> tuple[int, int]:
        """`(X, A)`."""
        return self.members.shape[1], self.members.shape[2]

    @property
    def difference_bound(self) -> float:
        """`R`, the largest spread of a member at one context."""
        return float((self.members.amax(-1) - self.members.amin(-1)).max())

    def log_covering(self, radius: float) -> float:
        """`log |𝓡|`, for every radius: the members themselves."""
        return math.log(len(self.members))

    def contains(self, reward: Tensor, tolerance: float = 1e-9) -> bool:
        """Whether `reward (X, A)` equals a member up to a shift of each context."""
        difference = self.members - reward
        spread = (difference.amax(-1) - difference.amin(-1)).amax(-1)
        return bool((spread <= tolerance).any())

    def losses(self, win_fraction: Tensor, link: Link) -> Tensor:
        """`E_D(r_f)` of every member on every data set, `(S, F)`: one matrix product."""
        cells = link.loss(tabular_margins(self.members)).flatten(1)
        return win_fraction.flatten(1) @ cells.T

    def average(self, mixture: Tensor) -> Tensor:
        """`Σ_f q_f r_f` of mixtures `q (S, F)`, `(S, X, A)`."""
        return torch.einsum("sf,fxa->sxa", mixture, self.members)

    def best_response(
        self,
        linear: Tensor,
        lam: Tensor,
        win_fraction: Tensor,
        link: Link,
        tolerance: float = 1e-9,
        warm: Any = None,
    ) -> BestResponse:
        """The critic (4) by enumeration; its gap is 0. `warm` keeps the losses between calls."""
        losses = self.losses(win_fraction, link) if warm is None else warm
        values = torch.einsum("sxa,fxa->sf", linear, self.members) + lam[:, None] * losses
        value, index = values.min(-1)
        return BestResponse(self.members[index], value, torch.zeros_like(value), losses, index)

    def reward_at(self, parameters: Any, points: Tensor) -> Tensor:
        """Members are tables: refused."""
        raise InputError(
            "reward_class is a finite list of tables, which says nothing of contexts it was not listed for; "
            "with contexts from a density take a linear, kernel or neural class."
        )
