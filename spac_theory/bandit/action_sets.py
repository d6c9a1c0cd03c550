"""Contexts with action sets of their own, as one rectangle.

Sixty thousand prompts with two to four answers each share no action. A context with fewer actions than the
widest repeats its first one: the repeats carry the same features, are never compared and have no mass
under `π_ref` and `ν`. A repeated action changes neither `max_a r(x,a)` nor any `Δ_r` of the class, so the
game (3), its certificate (6) and the concentrability (8) of the rectangle *are* those of the ragged problem;
:meth:`ActionSets.gather` gives a repeat's mass back to the action it repeats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.bandit.preferences import WinnerCounts
from spac_theory.checks import InputError

Whole = Sequence[int] | Tensor
LARGEST_RECTANGLE = 2**28  # cells X A² of winner counts: 2 GiB


@dataclass(frozen=True)
class ActionSets:
    """`sizes (X,)`: context `x` has `sizes[x] ≥ 1` actions, listed context by context, `N` in all.

    Raises InputError for a size below 1 and for sets so uneven that their rectangle is too large.
    """

    sizes: Tensor

    def __post_init__(self) -> None:
        sizes = torch.as_tensor(self.sizes)
        if sizes.ndim != 1 or len(sizes) == 0 or sizes.dtype.is_floating_point:
            raise InputError("sizes must be a one-dimensional array of whole numbers, not empty.")
        if int(sizes.min()) < 1:
            x = int(sizes.argmin())
            raise InputError(f"sizes[{x}] is {int(sizes[x])}; every context needs an action.")
        object.__setattr__(self, "sizes", sizes.to(torch.int64))
        cells = len(sizes) * self.width**2
        if cells > LARGEST_RECTANGLE:
            raise InputError(
                f"sizes reach {self.width} actions over {len(sizes)} contexts, {cells} cells of "
                f"counts; at most {LARGEST_RECTANGLE} fit, so drop or split the widest contexts."
            )

    @property
    def shape(self) -> tuple[int, int]:
        """`(X, A)` of the rectangle; `A` is the largest size."""
        return len(self.sizes), self.width

    @property
    def width(self) -> int:
        """`A`."""
        return int(self.sizes.max())

    @property
    def total(self) -> int:
        """`N = Σ_x sizes[x]`."""
        return int(self.sizes.sum())

    @cached_property
    def real(self) -> Tensor:
        """`(X, A)` bool: an action of the context, not a repeat."""
        return torch.arange(self.width) < self.sizes[:, None]

    @cached_property
    def index(self) -> Tensor:
        """`(X, A)`: the place in the list of `N` actions that each cell shows."""
        first = self.sizes.cumsum(0) - self.sizes
        slot = torch.arange(self.width).expand(*self.shape)
        return first[:, None] + torch.where(self.real, slot, 0)

    def spread(self, values: Tensor) -> Tensor:
        """A list over actions `(N, …)` as a rectangle `(X, A, …)`, first actions repeated."""
        if len(values) != self.total:
            raise InputError(
                f"values has {len(values)} rows; it must have {self.total}, one an action."
            )
        return values[self.index]

    def mass(self, values: Tensor) -> Tensor:
        """A list of masses `(N,)` as a rectangle `(X, A)` with nothing on repeats."""
        return self.spread(values) * self.real

    def gather(self, policy: Tensor) -> Tensor:
        """A policy `(…, X, A)` as a list `(…, N)`; the mass of repeats goes to what they repeat."""
        flat = policy.flatten(-2)
        out = flat.new_zeros(*flat.shape[:-1], self.total)
        return out.index_add(-1, self.index.flatten(), flat)

    def fold(self, policy: Tensor) -> Tensor:
        """A policy `(…, X, A)` with the mass of repeats on what they repeat; its value is the same."""
        return self.gather(policy)[..., self.index] * self.real

    def uniform(self) -> Tensor:
        """The same mass on each real action of a context, `(X, A)` float64."""
        return self.real.to(torch.float64) / self.sizes[:, None]

    def counts(
        self,
        context: Whole,
        winner: Whole,
        loser: Whole,
        weight: Whole | None = None,
        unit: int = 1,
    ) -> WinnerCounts:
        """Winner counts (`S = 1`) of triples whose actions are slots `0 … sizes[x] − 1` of their context.

        `weight` says how many units of `1/unit` comparison each triple stands for; None for one.
        """
        x = torch.as_tensor(context)
        for name, slots in (("winner", winner), ("loser", loser)):
            bad = torch.as_tensor(slots) >= self.sizes[x]
            if bool(bad.any()):
                row = int(bad.nonzero()[0])
                raise InputError(
                    f"{name}[{row}] is {slots[row]}; context {int(x[row])} has "
                    f"{int(self.sizes[x[row]])} actions."
                )
        contexts, actions = self.shape
        return WinnerCounts.from_triples(
            context,
            winner,
            loser,
            contexts=contexts,
            actions=actions,
            weight=weight,
            unit=unit,
        )


def from_groups(groups: Whole) -> ActionSets:
    """The action sets of a list of actions in context order: `groups[i]` is the context of action `i`.

    Raises InputError unless contexts are `0, 1, …` in order, each in one run.
    """
    labels = torch.as_tensor(groups)
    runs, sizes = torch.unique_consecutive(labels, return_counts=True)
    if not torch.equal(runs, torch.arange(len(runs))):
        raise InputError("groups must list contexts 0, 1, 2, … in order, each in one run.")
    checks.integer("contexts", len(runs), low=1)
    return ActionSets(sizes)
