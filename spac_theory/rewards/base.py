"""What every reward class answers, and nothing more: a new class is one file with these members."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from spac_theory import checks
from spac_theory.links import Link


@dataclass(frozen=True)
class BestResponse:
    """The critic's answer (4) to a policy.

    Attributes
    ----------
    reward : (S, X, A)
        A member of the class.
    value : (S,)
        `⟨c, r⟩ + λ E_D(r)` at that member.
    gap : (S,)
        Certified: `value − gap` is a lower bound on the minimum over the whole class.
    warm : object or None
        Handed back to the next, slightly different call.
    parameters : object or None
        What `reward_at` needs to give the same rewards at other contexts.
    """

    reward: Tensor
    value: Tensor
    gap: Tensor
    warm: Any = None
    parameters: Any = None

    def __post_init__(self) -> None:
        for name in ("reward", "value", "gap"):
            checks.is_number(f"best_response.{name}", getattr(self, name))


class RewardClass(Protocol):
    """A class `𝓡` of rewards on finitely many contexts and actions.

    `convex`: averages of members are members (else certificates use mixtures). `finite`:
    `log_covering` is the log of the number of members and no net is needed. `certified`: the gap of
    `best_response` is a bound; else it is an estimate and everything built on it is labelled so.
    """

    convex: bool
    finite: bool
    certified: bool

    @property
    def shape(self) -> tuple[int, int]:
        """`(X, A)`."""
        ...

    @property
    def difference_bound(self) -> float:
        """`R = sup_r sup_{x,a,b} |Δ_r|` over the whole class."""
        ...

    def log_covering(self, radius: float) -> float:
        """Upper bound on the log covering number in the sup norm, by members of the class."""
        ...

    def contains(self, reward: Tensor) -> bool:
        """Whether `reward (X, A)` is realizable, up to a shift of each context."""
        ...

    def best_response(
        self,
        linear: Tensor,
        lam: Tensor,
        win_fraction: Tensor,
        link: Link,
        tolerance: float = 1e-9,
        warm: Any = None,
    ) -> BestResponse:
        """Minimise `⟨linear, r⟩ + λ E_D(r)` over the class, certified.

        `linear (S, X, A)`, `lam (S,)`, `win_fraction (S, X, A, A)`.
        """
        ...

    def reward_at(self, parameters: Any, points: Tensor) -> Tensor:
        """Rewards `(S, X′, A)` of `BestResponse.parameters` at other contexts.

        `points (X′, A, k)` are what the class is made of: features, or coordinates. A class of
        tables raises InputError.
        """
        ...
