"""Problem generators, one file each: a bandit, the class its reward lies in, and a data profile."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from spac_theory import checks
from spac_theory.bandit.contextual import ContextualBandit
from spac_theory.bandit.preferences import PreferenceModel
from spac_theory.checks import InputError, brief
from spac_theory.links import BRADLEY_TERRY, Link
from spac_theory.registry import Registry, build
from spac_theory.rewards.base import RewardClass
from spac_theory.rewards.linear import one_hot_features, tabular_class


@dataclass(frozen=True)
class Problem:
    """A bandit with a realizable reward class.

    `profile (X, A)` is how the behaviour spreads its mass over actions before a behaviour family
    turns its dial; uniform where a problem has no opinion. `preference` is the truth where no reward
    explains it; None: the reward does, through the link of a view. `known_contexts`: policies are asked
    about the contexts of the data alone.
    """

    __repr__ = brief
    known_contexts: ClassVar[bool] = True

    bandit: ContextualBandit
    reward_class: RewardClass
    profile: Tensor
    preference: PreferenceModel | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        profile = checks.probabilities("profile", self.profile, self.bandit.shape)
        object.__setattr__(self, "profile", profile)
        if not self.reward_class.contains(self.bandit.reward):
            raise InputError(
                f"reward_class of problem {self.bandit.name!r} does not contain the true reward; "
                "widen its norm_bound or reward_range."
            )


def true_preference(problem: Problem, link: Link = BRADLEY_TERRY) -> PreferenceModel:
    """`P(a ≻ b | x)`: the problem's own, or the link of its reward."""
    if problem.preference is not None:
        return problem.preference
    return PreferenceModel.from_reward(problem.bandit.reward, link)


class ProblemGenerator(Protocol):
    """A frozen dataclass of options whose `build` is deterministic."""

    def build(self) -> Problem:
        """The problem."""
        ...


LARGEST_PROBLEM = 2**28  # entries of an array: 2 GiB
SIZES = ("contexts", "evaluation", "actions", "coordinates", "dimension", "members", "items")

PROBLEMS: Registry[type[ProblemGenerator]] = Registry("problem", "spac_theory.problems")


def make_problem(name: str, **options: Any) -> Problem:
    """Build the problem `name`; InputError for unknown names, options or values."""
    generator: ProblemGenerator = build(f"problem {name!r}", PROBLEMS[name], options)
    return built(name, generator)


def built(name: str, generator: ProblemGenerator) -> Problem:
    """The problem of a generator; InputError for sizes whose features alone would fill the memory."""
    _fits(name, generator)
    return generator.build()


def _fits(name: str, generator: Any) -> None:
    """Refuse arrays that are too large; the features of a kernel are `X A` numbers for each cell."""
    found: dict[str, Any] = {size: getattr(generator, size, None) for size in SIZES}
    sizes = {size: int(value) for size, value in found.items() if checks.is_real(value)}
    entries = math.prod(sizes.values())
    if name == "kernel":
        entries = max(entries, (sizes["contexts"] * sizes["actions"]) ** 2)
    if entries > LARGEST_PROBLEM:
        said = ", ".join(f"{size} {checks.shown(value)}" for size, value in sizes.items())
        raise InputError(
            f"problem {name!r} has {said}, arrays of more than {LARGEST_PROBLEM} entries; make it smaller."
        )


def uniform_profile(contexts: int, actions: int) -> Tensor:
    """The uniform distribution at every context."""
    return torch.full((contexts, actions), 1 / actions, dtype=torch.float64)


def table_problem(
    reward: Any,
    name: str = "own",
    *,
    rho: Any = None,
    reward_range: tuple[float, float] | None = None,
    profile: Any = None,
) -> Problem:
    """A problem from a table of rewards `(X, A)` of one's own, with the table as its class.

    `rho (X,)` weighs contexts and `profile (X, A)` spreads a behaviour's mass over actions, both uniform by
    default; `reward_range` bounds every reward of the class, by default the smallest and the largest of the
    table (what a learner is then told). Two problems with data of their own need two names. Raises
    InputError for a table with one action, a range that leaves the table out, or weights that are none.
    """
    table = checks.as_tensor("reward", reward, (None, None))
    contexts, actions = table.shape
    uniform = torch.full((contexts,), 1 / max(contexts, 1), dtype=torch.float64)
    weights = uniform if rho is None else checks.as_tensor("rho", rho, (contexts,))
    bandit = ContextualBandit(weights, one_hot_features(contexts, actions), table, name)
    limits = reward_range or (float(table.min()), float(table.max()))
    spread = uniform_profile(contexts, actions) if profile is None else profile
    return Problem(bandit, tabular_class(contexts, actions, reward_range=limits), spread)


def unit_table(reward: Tensor, name: str) -> Problem:
    """Rewards scaled to [0, 1] at each context, equal contexts, a table as the class."""
    low, high = reward.amin(-1, keepdim=True), reward.amax(-1, keepdim=True)
    contexts, actions = reward.shape
    bandit = ContextualBandit(
        rho=torch.full((contexts,), 1 / contexts, dtype=torch.float64),
        features=one_hot_features(contexts, actions),
        reward=(reward - low) / (high - low),
        name=name,
    )
    cls = tabular_class(contexts, actions, reward_range=(0.0, 1.0))
    return Problem(bandit, cls, uniform_profile(contexts, actions))
