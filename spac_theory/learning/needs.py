"""What an algorithm needs of a setting, declared; and the one function that says what is missing.

An algorithm declares `needs`, a reward class `offers`, a view and an oracle grant the rest. Nobody asks
for types: a stranger's class that offers features is treated like the project's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, ClassVar, cast

from torch import Tensor

from spac_theory.devices import beside
from spac_theory.options import Options
from spac_theory.rewards.base import FEATURES, TABLE
from spac_theory.rewards.linear import LinearClass
from spac_theory.view import LearnerView, Oracle

__all__ = [
    "FEATURES",
    "FULL_REFERENCE",
    "JUDGE",
    "KNOWN_CONTEXTS",
    "LABELS",
    "NEEDS",
    "PREFERENCES",
    "TABLE",
    "Coefficient",
    "Learner",
    "featured",
    "missing",
    "offers",
]

KNOWN_CONTEXTS = "known contexts"
FULL_REFERENCE = "full reference"
LABELS = "online labels"
JUDGE = "judge"
PREFERENCES = "true preferences"

Grant = Callable[[LearnerView, Oracle | None], bool]


def offers(thing: object) -> frozenset[str]:
    """What a reward class declares to offer; nothing where it says nothing."""
    return getattr(thing, "offers", frozenset())


def _labels(view: LearnerView, oracle: Oracle | None) -> bool:
    return oracle is not None and oracle.online is not None and oracle.online.budget > 0


def _judge(view: LearnerView, oracle: Oracle | None) -> bool:
    return oracle is not None and oracle.online is not None and oracle.online.can_judge


# Each need: what grants it, and the sentence where it is missing. An oracle is asked for nothing else.
NEEDS: dict[str, tuple[Grant, str]] = {
    FEATURES: (
        lambda view, oracle: FEATURES in offers(view.reward_class),
        "needs a linear (or tabular) reward class",
    ),
    TABLE: (
        lambda view, oracle: TABLE in offers(view.reward_class),
        "needs a tabular reward class",
    ),
    KNOWN_CONTEXTS: (
        lambda view, oracle: view.known_contexts,
        "its policy is a table of the contexts it learned from, and is asked about others",
    ),
    FULL_REFERENCE: (
        lambda view, oracle: float(view.reference.min()) > 0,
        "needs π_ref > 0 everywhere",
    ),
    LABELS: (_labels, "needs online labels, and none are granted"),
    JUDGE: (_judge, "needs a judge that scores responses, and none is granted"),
    PREFERENCES: (
        lambda view, oracle: oracle is not None and oracle.preference is not None,
        "needs the true preferences, which this setting does not grant",
    ),
}


def missing(needs: Iterable[str], view: LearnerView, oracle: Oracle | None) -> str | None:
    """Why a setting cannot be treated: the first need, in the order of `NEEDS`, that it does not grant.

    Raises KeyError for a need that no setting knows.
    """
    wanted = set(needs)
    if unknown := wanted - set(NEEDS):
        raise KeyError(f"unknown needs {sorted(unknown)}; they must be among: {', '.join(NEEDS)}.")
    for need, (granted, sentence) in NEEDS.items():
        if need in wanted and not granted(view, oracle):
            return sentence
    return None


class Coefficient(StrEnum):
    """The coverage a method's theory asks of the data; the pages of docs/methods say how sure each is."""

    SINGLE = "C(π*)"
    CHOSEN = "C(π*; chosen)"
    ALL = "sup C(π)"
    L1 = "E[π*/μ]"
    BEST_RATIO = "max π*/μ"
    RATIO = "max 1/μ"
    LOCAL = "KL ball"
    WIDE = "KL ball R/β"
    COVERABILITY = "coverability"
    NONE = "none"
    UNSTATED = "none stated"

    @property
    def meaning(self) -> str:
        """What it is, in words."""
        return MEANINGS[self]


MEANINGS = {
    Coefficient.SINGLE: "single-policy, reward differences to the behaviour",
    Coefficient.CHOSEN: "single-policy, reward differences to the winners of the data",
    Coefficient.ALL: "all-policy, reward differences",
    Coefficient.L1: "single-policy L1 density ratio",
    Coefficient.BEST_RATIO: "single-policy density ratio",
    Coefficient.RATIO: "all-policy density ratio",
    Coefficient.LOCAL: "density ratio over policies within a KL radius of the reference",
    Coefficient.WIDE: "the same with radius R/β (β = 0.1 in the league)",
    Coefficient.COVERABILITY: "density ratio under the best law of all: of no law in particular",
    Coefficient.NONE: "a theorem that asks nothing of the offline comparisons",
    Coefficient.UNSTATED: "the source has no theorem about data",
}


def _of_the_view(learner: Any, view: LearnerView, *rest: Any, **options: Any) -> Tensor:
    return view.rho


class Learner(Options):
    """What most algorithms share: options that check themselves, and declarations in place of tests.

    Attributes
    ----------
    needs : of the setting, keys of `NEEDS`; `needed` where they depend on options
    coefficient : the coverage its theory asks for
    solves_game : whether it solves the game (3), so that (T1) speaks of its `λ` and gap
    solves_constraint_form : whether it solves the game over `V` at the theorem's radius, so that (T2)
        speaks of its gap and of its column `fit_gap`
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    coefficient: ClassVar[Coefficient] = Coefficient.UNSTATED
    solves_game: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """Let `fit` make its tensors where those of the view are."""
        super().__init_subclass__()
        fit = cls.__dict__.get("fit")
        if fit is not None:
            setattr(cls, "fit", beside(_of_the_view)(fit))  # noqa: B010 (a base has no `fit`)

    @property
    def solves_constraint_form(self) -> bool:
        """False for all but one."""
        return False

    def needed(self) -> frozenset[str]:
        """The needs under these options."""
        return self.needs

    @property
    def reads(self) -> frozenset[str]:
        """The needs that are knowledge of the problem, which only an oracle grants."""
        return self.needed() & {LABELS, JUDGE, PREFERENCES}

    @property
    def spends(self) -> frozenset[str]:
        """The needs that are paid for, label by label or score by score."""
        return self.needed() & {LABELS, JUDGE}

    def skip(self, view: LearnerView, oracle: Oracle | None) -> str | None:
        """The first thing missing, in words, or None."""
        return missing(self.needed(), view, oracle)


def featured(view: LearnerView) -> LinearClass:
    """The view's class as one with features and a design; the need `FEATURES` must have been granted."""
    assert FEATURES in offers(view.reward_class), "declare the need FEATURES"
    return cast(LinearClass, view.reward_class)
