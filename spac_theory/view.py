"""What a learner may see, what an oracle may add, and what a learner returns.

An algorithm's `fit` receives a :class:`LearnerView` and the data. The true reward is in neither
type, so no algorithm can use it by accident; what needs knowledge of the problem asks for an
:class:`Oracle` and is labelled as such wherever its numbers appear.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.bandit.online import OnlineAccess
from spac_theory.bandit.preferences import PreferenceModel, WinnerCounts
from spac_theory.checks import InputError, brief
from spac_theory.links import BRADLEY_TERRY, Link
from spac_theory.rewards.base import RewardClass, shape_of


@dataclass(frozen=True)
class LearnerView:
    """The setting without its secret.

    Attributes
    ----------
    reward_class : `𝓡`, with the features it is made of
    rho : (X,) context weights: the true law, or that of the data's prompts
    reference : (X, A) `π_ref`
    baseline : (X, A) `ν`, or (S, X, A) where it is read off each data set
    delta : confidence level `δ` of the bounds
    known_contexts : policies are asked about these contexts alone; False where contexts come from a
        density, and a policy must answer at contexts it never saw
    key : names the random streams of the learner itself
    """

    __repr__ = brief

    reward_class: RewardClass
    rho: Tensor
    reference: Tensor
    baseline: Tensor
    link: Link = BRADLEY_TERRY
    delta: float = 0.1
    known_contexts: bool = True
    key: str = "learner"

    def __post_init__(self) -> None:
        contexts, actions = shape_of(self.reward_class)
        rho = checks.probabilities("rho", self.rho, (contexts,))
        reference = checks.probabilities("reference", self.reference, (contexts, actions))
        lanes = (None,) * (getattr(self.baseline, "ndim", 2) - 2)
        baseline = checks.probabilities("baseline", self.baseline, (*lanes, contexts, actions))
        for name, value in (("rho", rho), ("reference", reference), ("baseline", baseline)):
            object.__setattr__(self, name, value)
        checks.number("delta", self.delta, low=0, high=1, open_low=True, open_high=True)


@dataclass(frozen=True)
class Oracle:
    """Knowledge that no offline learner has, each piece stated by the referee that grants it.

    Attributes
    ----------
    concentrability : `C(π*)` of the optimal policy
    online : budgeted, counting access to labels, or None
    preference : the true `P(a ≻ b | x)`, or None
    """

    concentrability: float
    online: OnlineAccess | None = None
    preference: PreferenceModel | None = None


@dataclass(frozen=True)
class Contexts:
    """Contexts a policy may be asked about although no data came from them.

    Attributes
    ----------
    points : (X′, A, k), what the reward class is made of: features, or coordinates
    reference : (X′, A), `π_ref` there
    """

    points: Tensor
    reference: Tensor


class Declined(InputError):
    """A setting that an algorithm cannot treat, found out while it was tried."""


class Policy(Protocol):
    """Anything with exact action probabilities."""

    def probabilities(self, contexts: Contexts | None = None) -> Tensor:
        """`π(a|x)`, `(S, X, A)`: at the contexts of the view, or `(S, X′, A)` at `contexts`.

        A policy that is a table raises Declined at contexts it never saw.
        """
        ...


@dataclass(frozen=True)
class TabularPolicy:
    """A table of probabilities, `(S, X, A)`."""

    __repr__ = brief

    table: Tensor

    def probabilities(self, contexts: Contexts | None = None) -> Tensor:
        """`π(a|x)`, `(S, X, A)`."""
        if contexts is not None:
            raise Declined("policy is a table; it has no probabilities at contexts it never saw.")
        return self.table


@dataclass(frozen=True)
class GeneralPolicy:
    """A policy that is a rule: `table (S, X, A)` where it was learned, `rule` everywhere else."""

    __repr__ = brief

    table: Tensor
    rule: Callable[[Contexts], Tensor]

    def probabilities(self, contexts: Contexts | None = None) -> Tensor:
        """`π(a|x)`, `(S, X, A)` or `(S, X′, A)`."""
        return self.table if contexts is None else self.rule(contexts)


GAP_KINDS = (
    "duality gap",
    "gradient norm",
    "stationarity",
    "spread over starts",
    "estimate",
    "closed form",
    "none",
)


@dataclass(frozen=True)
class Fit:
    """What an algorithm returns.

    Attributes
    ----------
    policy : the learned policy of every data set
    gap_kind : what `gap` is: "duality gap", "gradient norm", "stationarity" (of a problem that is
        not convex), "spread over starts", "estimate", "closed form" or "none"
    gap : (S,) or None
    lam : (S,) the `λ` used, or None
    reward : (S, X, A) the fitted reward or critic, or None
    converged : (S,) bool or None; False where the promised accuracy was not reached
    extra : further `(S,)` columns for the results table
    """

    __repr__ = brief

    policy: Policy
    gap_kind: str
    gap: Tensor | None = None
    lam: Tensor | None = None
    reward: Tensor | None = None
    converged: Tensor | None = None
    extra: dict[str, Tensor] = field(default_factory=dict)

    def __new__(cls, *args: Any, **columns: Any) -> Fit:
        """Refuse, in words, the name that `gap_kind` had in plug-ins of the first version."""
        if "certified" in columns:
            raise InputError("certified is no column of a Fit any more; its name is gap_kind.")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        if not callable(getattr(self.policy, "probabilities", None)):
            raise InputError(
                f"policy is a {type(self.policy).__name__}; it must be a TabularPolicy(table), or have a "
                "method probabilities."
            )
        if isinstance(self.policy, TabularPolicy | GeneralPolicy):
            checks.is_number("policy", self.policy.table)
        for name in ("gap", "lam", "reward"):
            checks.is_number(name, getattr(self, name))
        for name, value in self.extra.items():
            checks.is_number(f"extra.{name}", value)

    def predict(self, contexts: Contexts | None = None) -> Tensor:
        """The likeliest action of every data set and context, `(S, X)` or `(S, X′)`; the first of equals."""
        return self.policy.probabilities(contexts).argmax(-1)

    def save(self, path: str | Path) -> None:
        """Write the fit to a `.npz` file that holds numbers alone, whole or not at all.

        A policy is kept as its table: what a rule says elsewhere is not. Raises InputError for another
        ending of `path`.
        """
        place = _npz(path)
        columns = {name: getattr(self, name) for name in ("gap", "lam", "reward", "converged")}
        columns |= {f"extra.{name}": value for name, value in self.extra.items()}
        arrays = {name: value.cpu().numpy() for name, value in columns.items() if value is not None}
        table = self.policy.probabilities().cpu().numpy()
        temporary = place.with_name(f".{place.name}.{os.getpid()}")
        try:
            with temporary.open("wb") as file:
                np.savez_compressed(file, policy=table, gap_kind=np.array(self.gap_kind), **arrays)
            os.replace(temporary, place)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> Fit:
        """The fit that :meth:`save` wrote. Raises InputError for a file that is none."""
        try:
            with np.load(_npz(path), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            kind, table = str(arrays.pop("gap_kind")), torch.from_numpy(arrays.pop("policy"))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(
                f"path is {str(path)!r}, which holds no saved fit ({error})."
            ) from error
        columns = {name: torch.from_numpy(value) for name, value in arrays.items()}
        extra = {n.removeprefix("extra."): columns.pop(n) for n in list(columns) if "." in n}
        return cls(TabularPolicy(table), kind, **columns, extra=extra)


def _npz(path: str | Path) -> Path:
    place = Path(path)
    if place.suffix != ".npz":
        raise InputError(f"path is {str(path)!r}; the file of a fit ends in .npz.")
    return place


class Algorithm(Protocol):
    """A frozen dataclass of options with two methods.

    `skip` returns a reason in words when the algorithm cannot treat a setting, else None; `fit`
    treats all `S` data sets at once and never grades itself. `learning.needs.Learner` is a base with a
    `skip` made of declared needs, and the other declarations: `reads`, `spends`, `coefficient`,
    `solves_game`. An algorithm without them declares nothing.
    """

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """Why this setting cannot be treated, or None."""
        ...

    def fit(self, view: LearnerView, data: WinnerCounts, oracle: Oracle | None = None) -> Fit:
        """Learn a policy from each data set."""
        ...
