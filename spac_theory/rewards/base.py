"""What every reward class answers, and nothing more: a new class is one file with these members."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.checks import InputError
from spac_theory.links import Link

# What a class may offer, beside what every class answers:
FEATURES = (
    "features"  # rewards are `Mθ`, with a `design` for `M`, `features (X, A, d)` and a `radius`
)
TABLE = "table"  # its features are the one-hot table


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
    converged : (S,) bool or None
        Whether the gap is within the tolerance asked for; None: the class makes no promise.
    """

    reward: Tensor
    value: Tensor
    gap: Tensor
    warm: Any = None
    parameters: Any = None
    converged: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("reward", "value", "gap"):
            checks.is_number(f"best_response.{name}", getattr(self, name))


class RewardClass(Protocol):
    """A class `𝓡` of rewards on finitely many contexts and actions.

    `convex`: averages of members are members (else certificates use mixtures). `finite`:
    `log_covering` is the log of the number of members and no net is needed. `gap_is_bound`: the gap
    of `best_response` is a bound; else it is an estimate and everything built on it is labelled so.
    A class may also declare `offers`, a frozenset of the words above.
    """

    convex: bool
    finite: bool
    gap_is_bound: bool

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
        """Minimise `⟨linear, r⟩ + λ E_D(r)` over the class, with the gap of the answer.

        `linear (S, X, A)`, `lam (S,)`, `win_fraction (S, X, A, A)`.
        """
        ...

    def reward_at(self, parameters: Any, points: Tensor) -> Tensor:
        """Rewards `(S, X′, A)` of `BestResponse.parameters` at other contexts.

        `points (X′, A, k)` are what the class is made of: features, or coordinates. A class of
        tables raises InputError.
        """
        ...


def shape_of(reward_class: Any) -> tuple[int, int]:
    """`(X, A)` of a reward class; InputError for what is none."""
    if isinstance(reward_class, type) or not hasattr(reward_class, "best_response"):
        raise InputError(
            f"reward_class is {checks.shown(reward_class)}; it must be a reward class, such as "
            "LinearClass or FiniteClass makes one."
        )
    contexts, actions = reward_class.shape
    return contexts, actions


def gap_kind(reward_class: RewardClass) -> str:
    """What the gap of the class's critic is: "duality gap", or "estimate".

    A class written when the attribute was called `certified` is read as it was meant.
    """
    old = getattr(reward_class, "certified", False)
    return "duality gap" if getattr(reward_class, "gap_is_bound", old) else "estimate"


def likeliest_member(reward_class: RewardClass, win_fraction: Tensor, link: Link) -> BestResponse:
    """Maximum likelihood over the class, `argmin_r E_D(r)`; `win_fraction (S, X, A, A)`."""
    nothing = torch.zeros(win_fraction.shape[:-1], dtype=torch.float64)
    one = torch.ones(len(win_fraction), dtype=torch.float64)
    return reward_class.best_response(nothing, one, win_fraction, link)
